/** Notices that a stream which came regularly has stopped coming. Pure. */

export const LEAST_MS = 200;
const PERIODS = 5; // of what came so far
const FEWEST = 10;
const FOLLOW = 0.1; // of the mean, at each

export class Silence {
  constructor() {
    this.forget();
  }

  /** Begin anew: nothing was heard yet. */
  forget() {
    this.count = 0;
    this.lastMs = 0;
    this.periodMs = 0;
  }

  /** @param {number} nowMs  something came */
  heard(nowMs) {
    if (this.count > 0) {
      const gapMs = nowMs - this.lastMs;
      const share = Math.max(FOLLOW, 1 / this.count);
      this.periodMs += share * (gapMs - this.periodMs);
    }
    this.count += 1;
    this.lastMs = nowMs;
  }

  /**
   * Whether it has been quiet for too long.
   * @param {number} nowMs
   */
  broken(nowMs) {
    if (this.count < FEWEST) return false;
    return nowMs - this.lastMs > Math.max(LEAST_MS, PERIODS * this.periodMs);
  }
}
