// The page's texts: every word that a visitor reads comes from strings.en.json, or from the operator's translation of it.

let texts = {};

export function setTexts(strings) {
  texts = strings;
  document.documentElement.lang = texts.language;
  document.title = texts.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = text(element.dataset.label);
  for (const element of document.querySelectorAll("[data-alt]")) element.alt = text(element.dataset.alt);
}

/** The text of that name, with {name} replaced by values.name. */
export function text(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}
