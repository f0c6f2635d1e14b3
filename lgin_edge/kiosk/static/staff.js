// For the staff: what visitors took, to look at, to store and to delete.

import { language, preferred, setTexts, text } from "./texts.js";

const gallery = document.getElementById("gallery");

function figure(name) {
  const element = document.createElement("figure");
  const [, year, month, day, hour, minute, second] = name.match(/(\d{4})(..)(..)-(..)(..)(..)/);
  const time = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const when = new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(time);
  const link = document.createElement("a");
  const image = document.createElement("img");
  link.href = image.src = `/staff/pictures/${name}`;
  link.download = name;
  image.loading = "lazy";
  image.alt = when;
  link.append(image);
  const caption = document.createElement("figcaption");
  caption.textContent = when;
  const button = document.createElement("button");
  button.className = "quiet";
  button.textContent = text("forget");
  button.ariaLabel = `${text("forget")}: ${when}`;
  button.onclick = async () => {
    const { ok, status } = await fetch(image.src, { method: "DELETE" });
    if (ok || status === 404) element.remove();
    tell();
  };
  element.append(link, caption, button);
  return element;
}

function tell() {
  document.getElementById("empty").hidden = gallery.children.length > 0;
}

const about = await (await fetch("/page.json")).json();
setTexts(about.languages[preferred(about.languages, about.language)]);
document.title = text("staff_title");
gallery.replaceChildren(...(await (await fetch("/staff/pictures")).json()).map(figure));
tell();
