"""A logical device: one queue, one command buffer, work submitted and waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mesh.core.errors import DeviceLost
from render.vulkan.api import NULL, CData, check, ffi, lib, new, vk
from render.vulkan.instance import FEATURES, FEATURES_13, Instance, PhysicalDevice
from render.vulkan.pipelinecache import PipelineCacheFile
from render.vulkan.stopwatch import Stopwatch

WAIT_LIMIT_NS = 20_000_000_000


class Device:
    """A VkDevice that runs one submission at a time; for one thread.

    memory_bytes: what is allocated of its memory now. stopwatch: of its submissions.
    What a caller creates on it, it destroys before the device closes.
    """

    def __init__(
        self, physical: PhysicalDevice, handle: CData, scope: ExitStack, cache: Path | None = None
    ) -> None:
        self.physical = physical
        self.handle = handle
        self.memory_bytes = 0  # allocated now, by `render.vulkan.memory`
        queue = ffi.new("VkQueue*")
        lib.vkGetDeviceQueue(handle, physical.queue_family, 0, queue)
        self._queue = queue[0]
        self.memory_types = ffi.new("VkPhysicalDeviceMemoryProperties*")
        lib.vkGetPhysicalDeviceMemoryProperties(physical.handle, self.memory_types)
        properties = ffi.new("VkPhysicalDeviceProperties*")
        lib.vkGetPhysicalDeviceProperties(physical.handle, properties)
        self.max_image_side = int(properties.limits.maxImageDimension2D)
        self.max_storage_range = int(properties.limits.maxStorageBufferRange)
        self.max_texels = int(properties.limits.maxTexelBufferElements)
        self.uniform_alignment = int(properties.limits.minUniformBufferOffsetAlignment)

        pool = self.create(
            scope,
            "CommandPool",
            new(
                "VkCommandPoolCreateInfo",
                flags=vk.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                queueFamilyIndex=physical.queue_family,
            ),
        )
        self._cache_file = _cache_file(cache, properties) if cache is not None else None
        self.pipeline_cache = self._create_pipeline_cache(scope)
        self._fence = self.create(scope, "Fence", new("VkFenceCreateInfo"))
        self._fences = ffi.new("VkFence[1]", [self._fence])
        self.stopwatch = Stopwatch(physical, handle, self.create, scope)

        buffers = ffi.new("VkCommandBuffer[1]")
        allocate = new(
            "VkCommandBufferAllocateInfo",
            commandPool=pool,
            level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY,
            commandBufferCount=1,
        )
        check(lib.vkAllocateCommandBuffers(handle, allocate, buffers), "vkAllocateCommandBuffers")
        self._commands = buffers[0]
        self._undoes: list[Callable[[], None]] = []
        self._begin = new(
            "VkCommandBufferBeginInfo", flags=vk.VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT
        )
        self._submit = new(
            "VkSubmitInfo2",
            commandBufferInfoCount=1,
            pCommandBufferInfos=[new("VkCommandBufferSubmitInfo", commandBuffer=self._commands)],
        )

    def create(self, scope: ExitStack, kind: str, info: CData) -> CData:
        """Call vkCreate`kind`(info) and put its vkDestroy into `scope`; returns the handle."""
        out = ffi.new(f"Vk{kind}*")
        result = getattr(lib, f"vkCreate{kind}")(self.handle, info, NULL, out)
        check(result, f"vkCreate{kind}")
        scope.callback(getattr(lib, f"vkDestroy{kind}"), self.handle, out[0], NULL)
        return out[0]

    def _create_pipeline_cache(self, scope: ExitStack) -> CData:
        """With what an earlier process has saved."""
        known = self._cache_file.load() if self._cache_file is not None else b""
        data = ffi.from_buffer(known)
        info = new("VkPipelineCacheCreateInfo", initialDataSize=len(known), pInitialData=data)
        return self.create(scope, "PipelineCache", info)

    def save_pipelines(self) -> bool:
        """Keep what pipelines were made of for the next process; whether there was anything new."""
        if self._cache_file is None:
            return False
        size = ffi.new("size_t*")
        result = lib.vkGetPipelineCacheData(self.handle, self.pipeline_cache, size, NULL)
        check(result, "vkGetPipelineCacheData")
        data = bytearray(size[0])
        into = ffi.from_buffer(data)
        result = lib.vkGetPipelineCacheData(self.handle, self.pipeline_cache, size, into)
        check(result, "vkGetPipelineCacheData")
        return self._cache_file.save(bytes(data[: size[0]]))

    @contextmanager
    def recording(self) -> Iterator[CData]:
        """Record commands, submit them, wait until they have run.

        Everything the host wrote before is visible to them; what they make visible to the host
        (a barrier to VK_PIPELINE_STAGE_2_HOST_BIT) may be read after. Nothing is submitted if the
        body raises; then all that `if_not_run` was told is called. Raises DeviceLost.
        """
        self._undoes.clear()
        try:
            yield from self._recorded()
        except BaseException:
            for undo in self._undoes:
                undo()
            raise

    def if_not_run(self, undo: Callable[[], None]) -> None:
        """Call that should what is being recorded not run: whoever notes down what it does."""
        self._undoes.append(undo)

    def _recorded(self) -> Iterator[CData]:
        check(lib.vkBeginCommandBuffer(self._commands, self._begin), "vkBeginCommandBuffer")
        try:
            yield self._commands
        except BaseException:
            lib.vkResetCommandBuffer(self._commands, 0)  # what is half recorded may not be begun
            raise
        check(lib.vkEndCommandBuffer(self._commands), "vkEndCommandBuffer")
        check(lib.vkQueueSubmit2(self._queue, 1, self._submit, self._fence), "vkQueueSubmit2")
        result = lib.vkWaitForFences(self.handle, 1, self._fences, 1, WAIT_LIMIT_NS)
        if result == vk.VK_TIMEOUT:
            raise DeviceLost(
                f"{self.physical.name} does not answer",
                f"work did not finish in {WAIT_LIMIT_NS // 1_000_000_000} s",
                "The device process is replaced.",
            )
        check(result, "vkWaitForFences")
        check(lib.vkResetFences(self.handle, 1, self._fences), "vkResetFences")


def _cache_file(folder: Path, properties: CData) -> PipelineCacheFile:
    uuid = bytes(properties.pipelineCacheUUID)
    return PipelineCacheFile(folder, properties.vendorID, properties.deviceID, uuid)


@contextmanager
def open_device(
    instance: Instance, physical: PhysicalDevice, cache: Path | None = None
) -> Iterator[Device]:
    """A logical device with the features that `PhysicalDevice.lacks` asks for.

    cache: the folder where pipelines are kept between processes; None to keep none.
    Raises DeviceUnavailable.
    """
    info = new(
        "VkDeviceCreateInfo",
        queueCreateInfoCount=1,
        pQueueCreateInfos=[
            new(
                "VkDeviceQueueCreateInfo",
                queueFamilyIndex=physical.queue_family,
                queueCount=1,
                pQueuePriorities=[1.0],
            )
        ],
        pEnabledFeatures=new("VkPhysicalDeviceFeatures", **dict.fromkeys(FEATURES, 1)),
        pNext=new("VkPhysicalDeviceVulkan13Features", **dict.fromkeys(FEATURES_13, 1)),
    )
    with ExitStack() as scope:
        out = ffi.new("VkDevice*")
        check(lib.vkCreateDevice(physical.handle, info, NULL, out), "vkCreateDevice")
        scope.callback(lib.vkDestroyDevice, out[0], NULL)
        scope.callback(lib.vkDeviceWaitIdle, out[0])
        yield Device(physical, out[0], scope, cache)
