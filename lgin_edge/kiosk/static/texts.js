// The page's texts: every word that a visitor reads comes from a strings.*.json, or from the operator's own.

let texts = {};

export const language = () => texts.language;

/** Of the languages that are offered the one that this browser's user likes best; else this other one, if there is one. */
export function preferred(offered, otherwise) {
  for (const wanted of navigator.languages) {
    const base = wanted.toLowerCase().split("-")[0];
    if (offered[base]) return base;
  }
  return otherwise ?? (offered.en ? "en" : Object.keys(offered)[0]);
}

/** Put these texts in place. */
export function setTexts(chosen) {
  texts = chosen;
  document.documentElement.lang = texts.language;
  document.documentElement.dir = texts.direction;
  document.title = texts.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = text(element.dataset.label);
  for (const element of document.querySelectorAll("[data-alt]")) element.alt = text(element.dataset.alt);
}

/** The text of that name, with {name} replaced by values.name; of several forms the one that fits the first value, a number. */
export function text(name, values = {}) {
  let chosen = texts[name];
  if (typeof chosen !== "string") {
    const form = new Intl.PluralRules(texts.language).select(Object.values(values)[0] ?? 0);
    chosen = chosen[form] ?? chosen.other;
  }
  return chosen.replace(/\{(\w+)\}/g, (_, key) => (typeof values[key] === "number" ? number(values[key]) : values[key]));
}

/** A number as it is written in this language; in digits as the slider and the strip have them. */
export const number = (value, options = {}) =>
  new Intl.NumberFormat(texts.language, { numberingSystem: "latn", maximumFractionDigits: 1, ...options }).format(value);

/** A time in words, on one line: seconds, minutes from two of them on, days from one on. */
export function duration(seconds) {
  const [length, unit] = seconds < 120 ? [1, "second"] : seconds < 86400 ? [60, "minute"] : [86400, "day"];
  const value = seconds / length;
  return number(value, { style: "unit", unit, unitDisplay: "long" }).replaceAll(" ", "\u00a0");
}

/** A time as clocks show it, minutes and seconds. */
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
