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

/** What is drawn for each class of things in a sweep. Apart from the makers' colours. */
export const CLASS_COLOURS = {
  car: "#4ade80",
  truck: "#facc15",
  pedestrian: "#fb7185",
  cyclist: "#c084fc",
  other: "#8d9aab",
};

const GROUND_M = 0.25; // what lies lower is the ground to the eye
const TALL_M = 3;
const LEVELS = 5; // of brightness

/** Colours of points: on the ground, standing, tall; each from faint to bright. */
export const pointShades = [[210, 26, 38], [205, 24, 58], [38, 34, 60]].flatMap(
  ([hue, saturation, lightness]) => Array.from({ length: LEVELS }, (_, level) => (
    `hsl(${hue} ${saturation}% ${(lightness * (0.7 + (0.75 * level) / (LEVELS - 1))).toFixed(0)}%)`
  )),
);

/**
 * The index in `pointShades` of a point.
 * @param {number} height  metres above the ground
 * @param {number} intensity  0 to 1
 */
export function pointShade(height, intensity) {
  const level = Math.min(LEVELS - 1, Math.floor(Math.sqrt(intensity) * LEVELS));
  return (height < GROUND_M ? 0 : height < TALL_M ? LEVELS : 2 * LEVELS) + level;
}
