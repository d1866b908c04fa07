/**
 * Reads the frame id drawn into a picture (docs/protocol-browser.md): 24 cells of 16x16 pixels
 * from the top-left corner; 20 bits of id, then the exclusive or of its five nibbles.
 */

export const CELL = 16;
export const ID_BITS = 20;
export const CELLS = 24;

/** Ids in the picture count modulo this. */
export const ID_MODULUS = 2 ** ID_BITS;

/**
 * Decode one row of pixels that runs through the middle of the cells.
 * @param {ArrayLike<number>} rgba  at least CELLS * CELL pixels, four bytes each
 * @returns {number | null} the id, or null if the check bits do not fit
 */
export function decodeRow(rgba) {
  let word = 0;
  for (let cell = 0; cell < CELLS; cell++) {
    const green = rgba[(cell * CELL + CELL / 2) * 4 + 1] ?? 0;
    if (green > 127) word |= 1 << cell;
  }
  const id = word & (ID_MODULUS - 1);
  return word >>> ID_BITS === checkOf(id) ? id : null;
}

/** @param {number} id */
function checkOf(id) {
  let check = 0;
  for (let shift = 0; shift < ID_BITS; shift += 4) check ^= (id >>> shift) & 0xf;
  return check;
}

/** Reads barcodes off pictures, through a small canvas of its own. */
export class BarcodeReader {
  constructor() {
    const canvas = new OffscreenCanvas(CELLS * CELL, 1);
    this.context = /** @type {OffscreenCanvasRenderingContext2D} */ (
      canvas.getContext("2d", { willReadFrequently: true, alpha: false })
    );
  }

  /**
   * @param {CanvasImageSource} picture  in the size it was made in
   * @returns {number | null}
   */
  read(picture) {
    this.context.drawImage(picture, 0, -CELL / 2);
    return decodeRow(this.context.getImageData(0, 0, CELLS * CELL, 1).data);
  }
}
