/** Colours of makers and of stages. Pure. */

// After Okabe and Ito's palette (told apart with any colour vision), lightened for a dark page.
const MAKER_COLOURS = [
  "#56b4e9", "#f0a030", "#2fc9a0", "#d98cb8", "#f0e060", "#6d93f5", "#e8743b", "#b9a2f0",
];

const STAGE_COLOURS = [
  "#5f7fa8", "#6aa9ff", "#5cd0c0", "#f2c14e", "#ea8f5a", "#cf74a4", "#9585e0",
];

/** What a filled piece is marked with. */
export const FILLED_COLOUR = "#ff5c5c";

/** Gives each maker a colour for as long as the page lives, in the order they appear. */
export class MakerColours {
  constructor() {
    /** @type {Map<string, string>} */
    this.known = new Map();
  }

  /** @param {string} maker */
  of(maker) {
    let colour = this.known.get(maker);
    if (colour === undefined) {
      colour = MAKER_COLOURS[this.known.size % MAKER_COLOURS.length];
      this.known.set(maker, colour);
    }
    return colour;
  }
}

/** @param {number} index  of the stage, in the order they happen */
export function stageColour(index) {
  return STAGE_COLOURS[index % STAGE_COLOURS.length];
}
