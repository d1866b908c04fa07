/**
 * Draws decoded pictures again, as they are seen from where the camera is by then, with WebGL2.
 *
 * A picture is a grid of cells, one for each block of its depth. Each corner is put where its point
 * is seen now; between corners the graphics processor interpolates with perspective, so a turn is
 * exact at any distance between corners. Squeezed edges are undone on the way: knots lie on the
 * grid. What the picture does not show is left transparent.
 *
 * Corners take the nearest of the depths around them: a foreground keeps its outline, and the
 * background beside it is stretched to where it is seen again.
 */

const CELL = 16; // pixels, where there is no depth: squeezed edges have their knots on this grid
const SLOTS = 6; // pictures kept: those whose facts are under way, and the one on the screen
const FAR_CLIP = 0.9999; // what is infinitely far lies on the far plane, and must not fall behind it

const VERTEX = `#version 300 es
uniform mat4 shown_from_drawn;
uniform highp sampler2D depths;
uniform ivec2 cells;
uniform int view;        // whose depth it is
uniform bool deep;       // whether there is any
uniform float block;     // pixels of a cell
uniform vec2 sent;       // size of the view in the picture, pixels
uniform vec4 full_x;     // knots, pixels: in the view as looked at ...
uniform vec4 squeezed_x; // ... and in the picture
uniform vec4 full_y;
uniform vec4 squeezed_y;
out vec2 place;          // in the view, pixels

const ivec2 CORNERS[6] = ivec2[](
  ivec2(0, 0), ivec2(1, 0), ivec2(0, 1), ivec2(0, 1), ivec2(1, 0), ivec2(1, 1));

float expand(float at, vec4 full, vec4 squeezed) {
  int next = at <= squeezed.y ? 1 : at <= squeezed.z ? 2 : 3;
  float along = (at - squeezed[next - 1]) / max(squeezed[next] - squeezed[next - 1], 1.0);
  return mix(full[next - 1], full[next], along);
}

float depth_at(ivec2 cell) {
  cell = clamp(cell, ivec2(0), cells - 1);
  float depth = texelFetch(depths, ivec2(cell.x, cell.y + view * cells.y), 0).r;
  return depth > 0.0 && depth <= 1.0 ? depth : 0.0; // not a number: that tile never came
}

void main() {
  int number = gl_VertexID / 6;
  ivec2 corner = ivec2(number % cells.x, number / cells.x) + CORNERS[gl_VertexID % 6];
  place = min(vec2(corner) * block, sent);
  vec2 full = vec2(expand(place.x, full_x, squeezed_x), expand(place.y, full_y, squeezed_y));
  float depth = 0.0;
  if (deep) {
    depth = max(max(depth_at(corner), depth_at(corner - ivec2(1, 0))),
                max(depth_at(corner - ivec2(0, 1)), depth_at(corner - 1)));
  }
  vec2 clip = 2.0 * full / vec2(full_x.w, full_y.w) - 1.0;
  vec4 shown = shown_from_drawn * vec4(clip, depth, 1.0);
  gl_Position = vec4(shown.x, -shown.y, ${FAR_CLIP} * (2.0 * shown.z - shown.w), shown.w);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D picture;
uniform vec2 sent;
uniform vec2 left_of; // how many views lie left of this one, and how many there are
in vec2 place;
out vec4 colour;

void main() {
  // The picture may come smaller than it was made. Half a pixel keeps out of the other eye's view.
  vec2 all = vec2(sent.x * left_of.y, sent.y);
  vec2 half_pixel = 0.5 * all / vec2(textureSize(picture, 0));
  vec2 inside = clamp(place, half_pixel, sent - half_pixel) + vec2(sent.x * left_of.x, 0.0);
  colour = vec4(texture(picture, inside / all).rgb, 1.0);
}`;

/** @typedef {import("./fmvr.js").Views} Views */
/** @typedef {import("./fovea.js").Fovea} Fovea */
/** @typedef {[number, number, number, number]} Box  x, y, width, height; WebGL's, y up */

/** @typedef {{texture: WebGLTexture, serial: number}} Slot  -1: no picture yet */

/**
 * How a session's pictures are laid out.
 * @typedef {object} Layout
 * @property {number} count  of views, side by side
 * @property {[number, number]} sent  size of one of them in the picture as made, pixels
 * @property {Fovea[]} [fovea]  of each, where edges are squeezed
 */

/** The pictures of one session on the graphics processor, and how they are drawn again. */
export class LateWarp {
  /**
   * @param {WebGL2RenderingContext} gl
   * @throws {Error} if its shaders do not compile: a broken driver
   */
  constructor(gl) {
    this.gl = gl;
    this.program = link(gl, VERTEX, FRAGMENT);
    /** @type {Object<string, WebGLUniformLocation | null>} */
    this.at = {};
    for (const name of [
      "shown_from_drawn", "depths", "picture", "cells", "view", "deep", "block", "sent", "left_of",
      "full_x", "squeezed_x", "full_y", "squeezed_y",
    ]) this.at[name] = gl.getUniformLocation(this.program, name);
    /** @type {Slot[]} */
    this.slots = [...Array(SLOTS)].map(() => ({
      texture: texture(gl, gl.LINEAR), serial: -1,
    }));
    this.depths = texture(gl, gl.NEAREST);
    this.deepOf = /** @type {Views | null} */ (null); // whose depth was uploaded
    this.serial = -1;
  }

  /**
   * Keep a picture.
   * @param {CanvasImageSource} source
   * @param {number} spared  serial of a picture that is still shown
   * @returns {number} its serial
   */
  take(source, spared) {
    const { gl } = this;
    const free = this.slots.filter(({ serial }) => serial !== spared || serial < 0);
    const slot = free.reduce((oldest, each) => (each.serial < oldest.serial ? each : oldest));
    gl.bindTexture(gl.TEXTURE_2D, slot.texture);
    gl.texImage2D(
      gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, /** @type {TexImageSource} */ (source),
    );
    this.serial += 1;
    slot.serial = this.serial;
    return slot.serial;
  }

  /** @param {number} serial  whether that picture is still kept */
  has(serial) {
    return this.slots.some((slot) => slot.serial === serial);
  }

  /**
   * Begin a drawing: everything in it is transparent.
   * @param {WebGLFramebuffer | null} target  null for the canvas
   */
  clear(target) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.clearColor(0, 0, 0, 0);
    gl.clearDepth(0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  /**
   * Draw one view of a picture; after `clear`.
   * @param {number} serial  of a picture that is kept
   * @param {number} view  counted from the left
   * @param {Layout} layout
   * @param {Views | null} views  the frame's, with its depth if it has any
   * @param {ArrayLike<number>} warp  clip from clip, row by row; see `warpOf` in viewpoint.js
   * @param {Box} box  where
   */
  draw(serial, view, { count, sent, fovea }, views, warp, box) {
    const slot = this.slots.find((each) => each.serial === serial);
    if (slot === undefined) return;
    const { gl, at } = this;
    const cell = views?.block || CELL;
    const cells = [Math.ceil(sent[0] / cell), Math.ceil(sent[1] / cell)];
    if (views?.block) this.#upload(views);
    gl.viewport(...box);
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.GEQUAL);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.depths);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, slot.texture);
    gl.uniform1i(at.picture, 0);
    gl.uniform1i(at.depths, 1);
    gl.uniformMatrix4fv(at.shown_from_drawn, true, Float32Array.from(warp));
    gl.uniform2i(at.cells, cells[0], cells[1]);
    gl.uniform1i(at.view, view);
    gl.uniform1i(at.deep, views?.block ? 1 : 0);
    gl.uniform1f(at.block, cell);
    gl.uniform2f(at.sent, ...sent);
    gl.uniform2f(at.left_of, view, count);
    const knots = fovea?.[view] ?? whole(sent);
    for (const axis of /** @type {const} */ (["x", "y"])) {
      gl.uniform4fv(at[`full_${axis}`], fourKnots(knots[axis].full));
      gl.uniform4fv(at[`squeezed_${axis}`], fourKnots(knots[axis].squeezed));
    }
    gl.drawArrays(gl.TRIANGLES, 0, 6 * cells[0] * cells[1]);
  }

  /**
   * A frame's depth, once.
   * @param {Views} views
   */
  #upload(views) {
    if (this.deepOf === views) return;
    this.deepOf = views;
    const { gl } = this;
    const { block, depth, size } = views;
    const [across, down] = [Math.ceil(size[0] / block), Math.ceil(size[1] / block)];
    gl.bindTexture(gl.TEXTURE_2D, this.depths);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 2);
    const format = /** @type {const} */ ([gl.RED, gl.HALF_FLOAT]);
    const rows = down * depth.length;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16F, across, rows, 0, ...format, null);
    depth.forEach((map, view) => {
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, view * down, across, down, ...format, map);
    });
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
  }
}

/**
 * @param {[number, number]} size
 * @returns {Fovea}  of a view that has no squeezed edges
 */
function whole([width, height]) {
  return {
    x: { full: [0, width], squeezed: [0, width] },
    y: { full: [0, height], squeezed: [0, height] },
  };
}

/**
 * As many knots as the shader takes: the last one again and again.
 * @param {number[]} knots  two or four
 */
function fourKnots(knots) {
  return [0, 1, 2, 3].map((i) => knots[Math.min(i, knots.length - 1)]);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {number} filter
 */
function texture(gl, filter) {
  const made = /** @type {WebGLTexture} */ (gl.createTexture());
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @throws {Error}
 */
function link(gl, vertex, fragment) {
  const program = /** @type {WebGLProgram} */ (gl.createProgram());
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(/** @type {number} */ (kind)));
    gl.shaderSource(shader, /** @type {string} */ (source));
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS)) return program;
  const logs = (gl.getAttachedShaders(program) ?? []).map((each) => gl.getShaderInfoLog(each));
  throw new Error(`the late warp's shaders are refused: ${logs.join("; ")}`);
}
