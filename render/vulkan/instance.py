"""The Vulkan instance, what its physical devices are, and what the validation layers say."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mesh.core.errors import DeviceUnavailable
from render.vulkan.api import INSTALL, NULL, CData, check, ffi, lib, new, text, vk

VALIDATION_LAYER = "VK_LAYER_KHRONOS_validation"
API_VERSION = (1, 3)
# What drawing asks for of VkPhysicalDeviceFeatures and VkPhysicalDeviceVulkan13Features.
FEATURES = ("multiDrawIndirect", "drawIndirectFirstInstance")
FEATURES_13 = ("dynamicRendering", "synchronization2")


@dataclass(frozen=True, slots=True, eq=False)
class PhysicalDevice:
    """One Vulkan device as its driver describes it.

    index: position in vkEnumeratePhysicalDevices. software: runs on the CPU (lavapipe).
    lacks: why it cannot be used here; empty when it can. timestamp_ns, timestamp_bits: of what its
    queue counts time with, a tick and how many bits count.
    """

    handle: CData
    index: int
    name: str
    driver: str
    uuid: str
    software: bool
    queue_family: int
    timestamp_ns: float
    timestamp_bits: int
    lacks: str = ""


class Instance:
    """A VkInstance. `messages` collects what the validation layers report, one text each."""

    def __init__(self, handle: CData, messages: list[str]) -> None:
        self.handle = handle
        self.messages = messages

    def physical_devices(self) -> list[PhysicalDevice]:
        """Every device of every driver, in the loader's order; unusable ones say what they lack.

        Raises DeviceUnavailable if there is none.
        """
        count = ffi.new("uint32_t*")
        result = lib.vkEnumeratePhysicalDevices(self.handle, count, NULL)
        handles = ffi.new("VkPhysicalDevice[]", max(count[0], 1))
        if result == 0 and count[0]:
            result = lib.vkEnumeratePhysicalDevices(self.handle, count, handles)
        check(result, "vkEnumeratePhysicalDevices")
        if not count[0]:
            raise DeviceUnavailable("no Vulkan device", "no driver offers one", INSTALL)
        return [_describe(handles[index], index) for index in range(count[0])]

    def choose(
        self, *, index: int | None = None, name: str | None = None, unit: str | None = None
    ) -> PhysicalDevice:
        """The first usable device that matches every given criterion (`name` as a substring).

        Raises DeviceUnavailable, saying why each candidate was passed over.
        """
        passed: list[str] = []
        for device in self.physical_devices():
            if index is not None and device.index != index:
                reason = f"it is device {device.index}, not {index}"
            elif name is not None and name not in device.name:
                reason = f"its name does not contain '{name}'"
            elif unit is not None and device.uuid != unit:
                reason = f"its UUID is {device.uuid}, not {unit}"
            elif device.lacks:
                reason = device.lacks
            else:
                return device
            passed.append(f"{device.name}: {reason}")
        raise DeviceUnavailable(
            "the Vulkan device asked for is not here",
            "; ".join(passed),
            "`framemesh devices` lists what is.",
        )


@contextmanager
def open_instance(*, validate: bool = False) -> Iterator[Instance]:
    """A Vulkan 1.3 instance.

    validate: load Khronos' validation layer with synchronisation checks; slow, for tests.
    Raises DeviceUnavailable if there is no driver, or `validate` is asked for and not installed.
    """
    messages: list[str] = []
    with ExitStack() as stack:
        extra: list[CData] = []
        if validate:
            _require_validation()
            # In pNext it also covers vkCreateInstance and vkDestroyInstance.
            extra.append(_messenger_info(messages, stack))
        info = new(
            "VkInstanceCreateInfo",
            pApplicationInfo=new(
                "VkApplicationInfo",
                pApplicationName="framemesh",
                apiVersion=vk.VK_MAKE_VERSION(*API_VERSION, 0),
            ),
            enabledLayerCount=len(extra),
            ppEnabledLayerNames=[VALIDATION_LAYER] if validate else NULL,
            enabledExtensionCount=len(extra),
            ppEnabledExtensionNames=["VK_EXT_debug_utils"] if validate else NULL,
            pNext=_synchronisation_checks(extra[0]) if validate else NULL,
        )
        out = ffi.new("VkInstance*")
        result = lib.vkCreateInstance(info, NULL, out)
        check(result, "vkCreateInstance")
        stack.callback(lib.vkDestroyInstance, out[0], NULL)
        if validate:
            _attach_messenger(out[0], extra[0], stack)
        yield Instance(out[0], messages)


def _require_validation() -> None:
    count = ffi.new("uint32_t*")
    check(lib.vkEnumerateInstanceLayerProperties(count, NULL), "vkEnumerateInstanceLayerProperties")
    layers = ffi.new("VkLayerProperties[]", max(count[0], 1))
    result = lib.vkEnumerateInstanceLayerProperties(count, layers)
    check(result, "vkEnumerateInstanceLayerProperties")
    if VALIDATION_LAYER not in (text(layers[i].layerName) for i in range(count[0])):
        raise DeviceUnavailable(
            "validation cannot be switched on",
            f"{VALIDATION_LAYER} is not installed",
            "Run `sudo apt install vulkan-validationlayers`.",
        )


def _messenger_info(messages: list[str], stack: ExitStack) -> CData:
    @ffi.callback("PFN_vkDebugUtilsMessengerCallbackEXT")  # type: ignore[untyped-decorator]
    def report(_severity: int, _kind: int, data: CData, _user: CData) -> int:
        messages.append(text(data.pMessage))
        return 0  # VK_FALSE: the call goes on

    stack.callback(lambda _: None, report)  # the layers call it until the instance is gone
    return new(
        "VkDebugUtilsMessengerCreateInfoEXT",
        messageSeverity=vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT
        | vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        messageType=vk.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        pfnUserCallback=report,
    )


def _synchronisation_checks(following: CData) -> CData:
    return new(
        "VkValidationFeaturesEXT",
        enabledValidationFeatureCount=1,
        pEnabledValidationFeatures=[vk.VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT],
        pNext=following,
    )


def _attach_messenger(instance: CData, info: CData, stack: ExitStack) -> None:
    def entry(name: str) -> CData:
        address = lib.vkGetInstanceProcAddr(instance, ffi.new("char[]", name.encode()))
        return ffi.cast(f"PFN_{name}", address)

    out = ffi.new("VkDebugUtilsMessengerEXT*")
    result = entry("vkCreateDebugUtilsMessengerEXT")(instance, info, NULL, out)
    check(result, "vkCreateDebugUtilsMessengerEXT")
    stack.callback(entry("vkDestroyDebugUtilsMessengerEXT"), instance, out[0], NULL)


def _describe(handle: CData, index: int) -> PhysicalDevice:
    driver = new("VkPhysicalDeviceDriverProperties")
    ids = new("VkPhysicalDeviceIDProperties", pNext=driver)
    properties = new("VkPhysicalDeviceProperties2", pNext=ids)
    lib.vkGetPhysicalDeviceProperties2(handle, properties)
    found = properties.properties
    family, timestamp_bits = _graphics_family(handle)
    return PhysicalDevice(
        handle=handle,
        index=index,
        name=text(found.deviceName),
        driver=f"{text(driver.driverName)} {text(driver.driverInfo)}",
        uuid=str(uuid.UUID(bytes=bytes(ffi.buffer(ids.deviceUUID)))),
        software=found.deviceType == vk.VK_PHYSICAL_DEVICE_TYPE_CPU,
        queue_family=family,
        timestamp_ns=float(found.limits.timestampPeriod),
        timestamp_bits=timestamp_bits,
        lacks=_lacks(handle, found.apiVersion, family),
    )


def _lacks(handle: CData, version: int, family: int) -> str:
    major, minor = version >> 22 & 0x7F, version >> 12 & 0x3FF
    if (major, minor) < API_VERSION:
        return f"its driver speaks Vulkan {major}.{minor}, 1.3 is needed"
    if family < 0:
        return "it has no queue family that draws and computes"
    vulkan13 = new("VkPhysicalDeviceVulkan13Features")
    features = new("VkPhysicalDeviceFeatures2", pNext=vulkan13)
    lib.vkGetPhysicalDeviceFeatures2(handle, features)
    missing = [name for name in FEATURES if not getattr(features.features, name)]
    missing += [name for name in FEATURES_13 if not getattr(vulkan13, name)]
    return f"it lacks {' and '.join(missing)}" if missing else ""


def _graphics_family(handle: CData) -> tuple[int, int]:
    """The first queue family with graphics, compute and timestamps, and their bits; or (-1, 0)."""
    count = ffi.new("uint32_t*")
    lib.vkGetPhysicalDeviceQueueFamilyProperties(handle, count, NULL)
    families = ffi.new("VkQueueFamilyProperties[]", max(count[0], 1))
    lib.vkGetPhysicalDeviceQueueFamilyProperties(handle, count, families)
    wanted = vk.VK_QUEUE_GRAPHICS_BIT | vk.VK_QUEUE_COMPUTE_BIT
    for index in range(count[0]):
        family = families[index]
        if family.queueFlags & wanted == wanted and family.timestampValidBits:
            return index, family.timestampValidBits
    return -1, 0
