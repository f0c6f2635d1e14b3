// The sheet with a picture that was taken, or a strip: to look at, to fetch with a phone, and to delete.

import { clock, text } from "./texts.js";

export class Kept {
  /** @param {(type: string, token: string) => boolean | undefined} say  asks the kiosk to "forget" a picture, or to "print" it */
  constructor(say) {
    this.prints = false; // whether the kiosk has a printer
    this.dialog = document.getElementById("kept");
    this.dialog.addEventListener("close", () => this.clear());
    document.getElementById("done").addEventListener("click", () => this.dialog.close());
    document.getElementById("forget").addEventListener("click", () => {
      say("forget", this.token);
      this.dialog.close();
    });
    document.getElementById("print").addEventListener("click", ({ target }) => {
      if (target.ariaDisabled === "true") return;
      const isAsked = say("print", this.token);
      this.tell(isAsked ? "working" : "reconnecting");
      target.ariaDisabled = Boolean(isAsked); // until the kiosk answers
    });
  }

  /**
   * @param {string} kind  "still", "strip" or "clip"
   * @param {object} kept  the kiosk's message: token, seconds, reachable
   * @param {{url: string, label?: string, alt: string}[]} pictures
   */
  open(kind, kept, pictures) {
    this.clear();
    this.token = kept.token;
    this.urls = pictures.map(({ url }) => url);
    document.getElementById("kept-title").textContent = text(`${kind}_title`);
    this.dialog.className = kind === "strip" ? "strip" : "still";
    document.getElementById("pictures").replaceChildren(...pictures.map(figure));
    document.getElementById("code").hidden = !kept.reachable;
    document.getElementById("not-reachable").hidden = kept.reachable;
    if (kept.reachable) document.getElementById("code-picture").src = `/stills/${kept.token}.svg`;
    const save = document.getElementById("save");
    save.href = `/stills/${kept.token}.${kind === "clip" ? "gif" : "jpg"}?save=1`;
    save.hidden = false;
    document.getElementById("print").hidden = !this.prints || kind === "clip";
    this.until = performance.now() + 1000 * kept.seconds;
    this.timer = setInterval(() => this.tick(), 1000);
    this.tick();
    if (!this.dialog.open) this.dialog.showModal();
    document.getElementById("kept-title").focus();
  }

  /** Say how the printing goes. */
  tell(name) {
    document.getElementById("told").textContent = text(name);
    document.getElementById("print").ariaDisabled = false;
  }

  get isOpen() {
    return this.dialog.open;
  }

  /**
   * Let the visitor choose one of several pictures.
   * @param {{url: string, alt: string}[]} pictures
   * @returns {Promise<number>}  which, or -1 if the sheet was closed
   */
  choose(pictures) {
    const dialog = document.getElementById("shots");
    return new Promise((resolve) => {
      const buttons = pictures.map((picture, i) => {
        const button = document.createElement("button");
        button.append(...figure(picture).children);
        button.autofocus = i === 0;
        button.onclick = () => dialog.close(String(i));
        return button;
      });
      document.getElementById("shot-choice").replaceChildren(...buttons);
      dialog.returnValue = "-1";
      dialog.onclose = () => {
        document.getElementById("shot-choice").replaceChildren();
        resolve(Number(dialog.returnValue));
      };
      dialog.showModal();
    });
  }

  tick() {
    const left = Math.max(0, Math.round((this.until - performance.now()) / 1000));
    document.getElementById("gone").textContent = left ? text("gone_in", { time: clock(left) }) : text("gone");
    document.getElementById("save").hidden = !left;
    if (!left) document.getElementById("code").hidden = document.getElementById("print").hidden = true;
  }

  close() {
    document.getElementById("shots").close();
    if (this.dialog.open) this.dialog.close();
  }

  clear() {
    clearInterval(this.timer);
    for (const url of this.urls ?? []) URL.revokeObjectURL(url);
    this.urls = [];
    document.getElementById("pictures").replaceChildren();
    document.getElementById("told").textContent = "";
    document.getElementById("print").ariaDisabled = false;
    document.getElementById("code-picture").removeAttribute("src");
    document.getElementById("save").removeAttribute("href");
  }
}

function figure({ url, label, alt }) {
  const element = document.createElement("figure");
  const image = document.createElement("img");
  image.src = url;
  image.alt = alt;
  element.append(image);
  if (label) {
    const caption = document.createElement("figcaption");
    caption.textContent = label;
    element.append(caption);
  }
  return element;
}
