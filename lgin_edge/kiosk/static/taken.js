// What a QR code opens on a visitor's phone: what was taken, to save and to share, until it is gone.

import { clock, duration, preferred, setTexts, text } from "./texts.js";

const KINDS = { picture: "still", years: "strip", clip: "clip" }; // by the file's name: what its texts begin with
const AGAIN_MS = 1000;

const byId = (id) => document.getElementById(id);
const token = location.pathname.split("/").pop();

/** The JSON at that path, or null where there is none; asked again while the kiosk cannot be reached. */
async function read(path) {
  for (;;) {
    try {
      const answer = await fetch(path);
      if (answer.status === 404) return null;
      if (answer.ok) return await answer.json();
    } catch {
      // the network is away just now
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function show(name) {
  for (const screen of document.querySelectorAll(".screen")) screen.hidden = screen.id !== name;
}

function over(seconds) {
  byId("picture").removeAttribute("src");
  byId("save").removeAttribute("href");
  byId("over-text").textContent = text("gone_text", { time: duration(seconds) });
  show("over");
}

/** Offer sharing where this phone can share such a file; over plain HTTP none can. */
async function offerSharing(url, name) {
  const data = await (await fetch(url)).blob();
  const files = [new File([data], name, { type: data.type })];
  if (!navigator.canShare?.({ files })) return;
  byId("share").hidden = false;
  byId("share").onclick = () => navigator.share({ files }).catch(() => {}); // the visitor changed his mind
}

const about = await read("/page.json");
const kept = await read(`/stills/${token}.json`);
setTexts(about.languages[preferred(about.languages, kept?.language ?? about.language)]);
if (kept) {
  const until = performance.now() + 1000 * kept.seconds;
  const url = `/stills/${token}.${kept.kind}`;
  const tick = () => {
    const left = Math.round((until - performance.now()) / 1000);
    byId("gone").textContent = text("gone_in", { time: clock(left) });
    if (left > 0) return;
    clearInterval(timer);
    over(about.still_seconds);
  };
  const timer = setInterval(tick, 1000);
  const kind = KINDS[kept.name.split(".")[0]];
  byId("title").textContent = text(`${kind}_title`);
  byId("picture").alt = text(kind === "strip" ? "strip_title" : `${kind}_alt`);
  byId("picture").src = url;
  byId("save").href = `${url}?save=1`;
  show("there");
  tick();
  await offerSharing(url, kept.name);
} else {
  over(about.still_seconds);
}
