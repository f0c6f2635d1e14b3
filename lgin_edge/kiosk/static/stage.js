// The live picture: the frame as it came and as it was changed, one over the other, with a divider that can be moved by
// pointer and by keyboard.

import { text } from "./texts.js";

const STEP = 5; // percent, of an arrow key

export class Stage {
  constructor() {
    this.element = document.getElementById("stage");
    this.divider = document.getElementById("divider");
    this.before = document.getElementById("before");
    this.after = document.getElementById("after");
    this.element.addEventListener("pointerdown", (event) => this.grab(event));
    this.divider.addEventListener("keydown", (event) => this.press(event));
    this.percent = 50;
  }

  /** Where the divider is, 0 to 100: what lies left of it is shown as it came. */
  set percent(value) {
    this.at = Math.min(100, Math.max(0, Math.round(value)));
    this.element.style.setProperty("--split", `${this.at}%`);
    this.divider.ariaValueNow = this.at;
  }

  get percent() {
    return this.at;
  }

  set split(on) {
    this.element.classList.toggle("split", on);
  }

  get split() {
    return this.element.classList.contains("split");
  }

  set mirror(on) {
    this.element.classList.toggle("mirror", on);
  }

  /** Says the divider's place; called when there are texts. */
  describe() {
    this.divider.ariaValueText = text("divider_spoken", { percent: this.at });
  }

  /** Show one frame: the picture as it came, and as it was changed. */
  show(before, after) {
    for (const [canvas, picture] of [[this.before, before], [this.after, after]]) {
      if (canvas.width !== picture.width) canvas.width = picture.width;
      if (canvas.height !== picture.height) canvas.height = picture.height;
      canvas.getContext("2d").drawImage(picture, 0, 0);
    }
    this.element.classList.add("shown");
  }

  /** Nothing of any picture is left. */
  clear() {
    this.before.width = this.after.width = 0;
    this.element.classList.remove("shown");
    this.percent = 50;
  }

  grab(event) {
    if (!this.split || event.target.closest("button")) return;
    event.preventDefault();
    const move = ({ clientX }) => {
      const box = this.element.getBoundingClientRect();
      this.percent = (100 * (clientX - box.left)) / box.width;
      this.describe();
    };
    const end = () => {
      this.element.removeEventListener("pointermove", move);
      this.element.removeEventListener("pointerup", end);
      this.element.removeEventListener("pointercancel", end);
    };
    this.element.setPointerCapture(event.pointerId);
    this.element.addEventListener("pointermove", move);
    this.element.addEventListener("pointerup", end);
    this.element.addEventListener("pointercancel", end);
    move(event);
    this.divider.focus({ focusVisible: false });
  }

  press(event) {
    const to = {
      ArrowLeft: this.at - STEP, ArrowDown: this.at - STEP, PageDown: this.at - 4 * STEP, Home: 0,
      ArrowRight: this.at + STEP, ArrowUp: this.at + STEP, PageUp: this.at + 4 * STEP, End: 100,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.percent = to;
    this.describe();
  }
}
