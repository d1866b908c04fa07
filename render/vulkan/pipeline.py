"""Shader modules, descriptor sets and pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from render.vulkan.api import NULL, CData, array, check, ffi, lib, new, vk
from render.vulkan.device import Device
from render.vulkan.memory import Buffer


@dataclass(frozen=True, slots=True)
class VertexLayout:
    """One interleaved vertex buffer: `stride` bytes; (format, offset) per location.

    per_instance: it goes on with each instance, not with each vertex.
    """

    stride: int
    attributes: tuple[tuple[int, int], ...]
    per_instance: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """What a graphics pipeline draws to: VkFormats of colour (None: depth alone) and depth,
    samples of a pixel.
    """

    color_format: int | None
    depth_format: int
    samples: int = 1


def create_shader(device: Device, scope: ExitStack, code: bytes) -> CData:
    """A shader module from SPIR-V."""
    words = ffi.new("uint32_t[]", len(code) // 4)
    ffi.memmove(words, code, len(code))
    info = new("VkShaderModuleCreateInfo", codeSize=len(code), pCode=words)
    return device.create(scope, "ShaderModule", info)


def create_set_layout(
    device: Device, scope: ExitStack, bindings: Sequence[tuple[int, int]]
) -> CData:
    """A descriptor set layout: binding i has (descriptor type, shader stages) `bindings[i]`."""
    info = new(
        "VkDescriptorSetLayoutCreateInfo",
        bindingCount=len(bindings),
        pBindings=[
            new(
                "VkDescriptorSetLayoutBinding",
                binding=index,
                descriptorType=kind,
                descriptorCount=1,
                stageFlags=stages,
            )
            for index, (kind, stages) in enumerate(bindings)
        ],
    )
    return device.create(scope, "DescriptorSetLayout", info)


def create_pipeline_layout(
    device: Device,
    scope: ExitStack,
    sets: Sequence[CData],
    push_stages: int = 0,
    push_bytes: int = 0,
) -> CData:
    """A pipeline layout with at most one push constant range, from offset 0 (up to 128 bytes)."""
    push = new("VkPushConstantRange", stageFlags=push_stages, offset=0, size=push_bytes)
    info = new(
        "VkPipelineLayoutCreateInfo",
        setLayoutCount=len(sets),
        pSetLayouts=list(sets),
        pushConstantRangeCount=int(push_bytes > 0),
        pPushConstantRanges=[push],
    )
    return device.create(scope, "PipelineLayout", info)


def allocate_sets(
    device: Device, scope: ExitStack, layout: CData, count: int, kinds: Sequence[int]
) -> list[CData]:
    """`count` descriptor sets of one layout, in a pool of their own; `kinds` as in the layout."""
    counts: dict[int, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + count
    pool = device.create(
        scope,
        "DescriptorPool",
        new(
            "VkDescriptorPoolCreateInfo",
            maxSets=count,
            poolSizeCount=len(counts),
            pPoolSizes=[
                new("VkDescriptorPoolSize", type=kind, descriptorCount=number)
                for kind, number in counts.items()
            ],
        ),
    )
    out = ffi.new("VkDescriptorSet[]", count)
    info = new(
        "VkDescriptorSetAllocateInfo",
        descriptorPool=pool,
        descriptorSetCount=count,
        pSetLayouts=[layout] * count,
    )
    check(lib.vkAllocateDescriptorSets(device.handle, info, out), "vkAllocateDescriptorSets")
    return [out[index] for index in range(count)]


def write_buffer(
    device: Device,
    target: CData,
    binding: tuple[int, int],
    buffer: Buffer,
    extent: tuple[int, int] | None = None,
) -> None:
    """Point a binding (index, descriptor type) at a buffer, or at (offset, size) of it."""
    offset, size = extent or (0, buffer.size)
    write = new(
        "VkWriteDescriptorSet",
        dstSet=target,
        dstBinding=binding[0],
        descriptorCount=1,
        descriptorType=binding[1],
        pBufferInfo=new("VkDescriptorBufferInfo", buffer=buffer.handle, offset=offset, range=size),
    )
    lib.vkUpdateDescriptorSets(device.handle, 1, write, 0, NULL)


def write_texel_buffer(device: Device, target: CData, binding: int, view: CData) -> None:
    """Point a uniform texel buffer at a VkBufferView."""
    write = new(
        "VkWriteDescriptorSet",
        dstSet=target,
        dstBinding=binding,
        descriptorCount=1,
        descriptorType=vk.VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
        pTexelBufferView=[view],
    )
    lib.vkUpdateDescriptorSets(device.handle, 1, write, 0, NULL)


def write_texture(device: Device, target: CData, binding: int, view: CData, sampler: CData) -> None:
    """Point a combined image sampler at a view in VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL."""
    write = new(
        "VkWriteDescriptorSet",
        dstSet=target,
        dstBinding=binding,
        descriptorCount=1,
        descriptorType=vk.VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
        pImageInfo=new(
            "VkDescriptorImageInfo",
            sampler=sampler,
            imageView=view,
            imageLayout=vk.VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL,
        ),
    )
    lib.vkUpdateDescriptorSets(device.handle, 1, write, 0, NULL)


def write_storage_image(device: Device, target: CData, binding: int, view: CData) -> None:
    """Point a storage image at a view in VK_IMAGE_LAYOUT_GENERAL."""
    write = new(
        "VkWriteDescriptorSet",
        dstSet=target,
        dstBinding=binding,
        descriptorCount=1,
        descriptorType=vk.VK_DESCRIPTOR_TYPE_STORAGE_IMAGE,
        pImageInfo=new(
            "VkDescriptorImageInfo", imageView=view, imageLayout=vk.VK_IMAGE_LAYOUT_GENERAL
        ),
    )
    lib.vkUpdateDescriptorSets(device.handle, 1, write, 0, NULL)


def create_compute_pipeline(
    device: Device,
    scope: ExitStack,
    shader: CData,
    layout: CData,
    constants: Mapping[int, int] | None = None,
) -> CData:
    """A compute pipeline of `main`. constants: its 32-bit specialisation constants by id."""
    stage = _stage("COMPUTE", shader, constants)
    info = new("VkComputePipelineCreateInfo", stage=stage, layout=layout)
    out = ffi.new("VkPipeline*")
    result = lib.vkCreateComputePipelines(device.handle, device.pipeline_cache, 1, info, NULL, out)
    check(result, "vkCreateComputePipelines")
    scope.callback(lib.vkDestroyPipeline, device.handle, out[0], NULL)
    return out[0]


def create_graphics_pipeline(
    device: Device,
    scope: ExitStack,
    *,
    layout: CData,
    vertex: CData,
    fragment: CData | None,
    constants: Mapping[int, int],
    vertices: Sequence[VertexLayout],
    targets: Targets,
    blend: bool = False,
    depth: bool = True,
) -> CData:
    """A triangle pipeline for dynamic rendering.

    Viewport, scissor, cull mode and front face are dynamic. Depth is reversed (1 near, 0 far).
    fragment: None where only depth is drawn, and nothing cut away.
    constants: the fragment shader's 32-bit specialisation constants by id.
    vertices: the vertex buffers; their attributes' locations are counted on from one to the next.
    depth: whether it is tested, and written.
    blend: composite with "over", colours being multiplied by their alpha already, and leave depth
    unwritten, instead of replacing.
    """
    stages = [_stage("VERTEX", vertex)]
    if fragment is not None:
        stages.append(_stage("FRAGMENT", fragment, constants))
    colors = [] if targets.color_format is None else [targets.color_format]
    info = new(
        "VkGraphicsPipelineCreateInfo",
        stageCount=len(stages),
        pStages=stages,
        pVertexInputState=_vertex_input(vertices),
        pInputAssemblyState=new(
            "VkPipelineInputAssemblyStateCreateInfo",
            topology=vk.VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST,
        ),
        pViewportState=new("VkPipelineViewportStateCreateInfo", viewportCount=1, scissorCount=1),
        pRasterizationState=new(
            "VkPipelineRasterizationStateCreateInfo",
            polygonMode=vk.VK_POLYGON_MODE_FILL,
            lineWidth=1.0,
        ),
        pMultisampleState=new(
            "VkPipelineMultisampleStateCreateInfo", rasterizationSamples=targets.samples
        ),
        pDepthStencilState=new(
            "VkPipelineDepthStencilStateCreateInfo",
            depthTestEnable=int(depth),
            depthWriteEnable=int(depth and not blend),
            depthCompareOp=vk.VK_COMPARE_OP_GREATER_OR_EQUAL,
        ),
        pColorBlendState=_blending(blend) if colors else NULL,
        pDynamicState=_dynamic_state(),
        layout=layout,
        pNext=new(
            "VkPipelineRenderingCreateInfo",
            colorAttachmentCount=len(colors),
            pColorAttachmentFormats=colors,
            depthAttachmentFormat=targets.depth_format,
        ),
    )
    out = ffi.new("VkPipeline*")
    result = lib.vkCreateGraphicsPipelines(device.handle, device.pipeline_cache, 1, info, NULL, out)
    check(result, "vkCreateGraphicsPipelines")
    scope.callback(lib.vkDestroyPipeline, device.handle, out[0], NULL)
    return out[0]


def _stage(kind: str, shader: CData, constants: Mapping[int, int] | None = None) -> CData:
    return new(
        "VkPipelineShaderStageCreateInfo",
        stage=getattr(vk, f"VK_SHADER_STAGE_{kind}_BIT"),
        module=shader,
        pName="main",
        pSpecializationInfo=_specialisation(constants) if constants else NULL,
    )


def _specialisation(constants: Mapping[int, int]) -> CData:
    return new(
        "VkSpecializationInfo",
        mapEntryCount=len(constants),
        pMapEntries=[
            new("VkSpecializationMapEntry", constantID=identity, offset=4 * index, size=4)
            for index, identity in enumerate(constants)
        ],
        dataSize=4 * len(constants),
        pData=array("uint32_t", list(constants.values())),
    )


def _vertex_input(vertices: Sequence[VertexLayout]) -> CData:
    rates = (vk.VK_VERTEX_INPUT_RATE_VERTEX, vk.VK_VERTEX_INPUT_RATE_INSTANCE)
    bindings = [
        new(
            "VkVertexInputBindingDescription",
            binding=binding,
            stride=layout.stride,
            inputRate=rates[layout.per_instance],
        )
        for binding, layout in enumerate(vertices)
    ]
    located = [
        (binding, *attribute)
        for binding, layout in enumerate(vertices)
        for attribute in layout.attributes
    ]
    attributes = [
        new(
            "VkVertexInputAttributeDescription",
            location=location,
            binding=binding,
            format=vertex_format,
            offset=offset,
        )
        for location, (binding, vertex_format, offset) in enumerate(located)
    ]
    return new(
        "VkPipelineVertexInputStateCreateInfo",
        vertexBindingDescriptionCount=len(bindings),
        pVertexBindingDescriptions=bindings,
        vertexAttributeDescriptionCount=len(attributes),
        pVertexAttributeDescriptions=attributes,
    )


def _blending(blend: bool) -> CData:
    return new(
        "VkPipelineColorBlendStateCreateInfo",
        attachmentCount=1,
        pAttachments=[
            new(
                "VkPipelineColorBlendAttachmentState",
                blendEnable=int(blend),
                srcColorBlendFactor=vk.VK_BLEND_FACTOR_ONE,
                dstColorBlendFactor=vk.VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
                colorBlendOp=vk.VK_BLEND_OP_ADD,
                srcAlphaBlendFactor=vk.VK_BLEND_FACTOR_ONE,
                dstAlphaBlendFactor=vk.VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
                alphaBlendOp=vk.VK_BLEND_OP_ADD,
                colorWriteMask=vk.VK_COLOR_COMPONENT_R_BIT
                | vk.VK_COLOR_COMPONENT_G_BIT
                | vk.VK_COLOR_COMPONENT_B_BIT
                | vk.VK_COLOR_COMPONENT_A_BIT,
            )
        ],
    )


def _dynamic_state() -> CData:
    states = [
        vk.VK_DYNAMIC_STATE_VIEWPORT,
        vk.VK_DYNAMIC_STATE_SCISSOR,
        vk.VK_DYNAMIC_STATE_CULL_MODE,
        vk.VK_DYNAMIC_STATE_FRONT_FACE,
    ]
    return new(
        "VkPipelineDynamicStateCreateInfo", dynamicStateCount=len(states), pDynamicStates=states
    )
