// The kiosk's page: which screen is shown, and what the buttons do.

import { Connection } from "./connection.js";
import { Kept } from "./kept.js";
import { openCamera, openPhoto } from "./source.js";
import { Stage } from "./stage.js";
import { duration, language, number, preferred, setTexts, text } from "./texts.js";

const JPEG_QUALITY = 0.85;
const STILL_QUALITY = 0.92;
const MIN_IDLE = 60; // seconds where nobody needs to be seen: while a visitor reads or waits, and with a photo
const CAMERA_RETRY = 3; // seconds
const READ = 1; // seconds that a screen is shown before a key goes on: nobody agrees by pressing twice
const WARN = 6; // seconds before the end for which it is announced
const SEEN = 0.5; // a face that gets so much of the change is there
const FADE_MS = 2000; // a picture waits so long for a face that has just come to have all of its change

const byId = (id) => document.getElementById(id);
const stage = new Stage();
const kept = new Kept((type, token) => visit?.connection.say({ type, token }));
let about; // what /page.json tells
let visit = null; // the visit that goes on: source, connection, ...
let touched = 0; // when the screen was last touched, or a key pressed
let shown = 0; // since when this screen is shown
let retry = null; // {at}: when the camera that is not there was last tried; null where none is waited for

// Screens.

function show(name) {
  document.body.dataset.screen = name;
  retry = null;
  touched = shown = performance.now();
  for (const screen of document.querySelectorAll(".screen")) screen.hidden = screen.id !== name;
  byId(name).querySelector("[tabindex='-1'], .primary, input")?.focus({ focusVisible: false });
}

function trouble(name, values, again) {
  byId("trouble-title").textContent = text(`trouble_${name}_title`);
  const hint = about.public_screen ? "trouble_public" : `trouble_${name}_desk`;
  const words = `${text(`trouble_${name}`, values)} ${text(hint)}`;
  byId("trouble-text").textContent = words.replace("。 ", "。");
  byId("again").onclick = again;
  show("trouble");
}

// A visit, from consent to finish.

async function startCamera() {
  const from = document.body.dataset.screen;
  const retries = retry;
  try {
    const source = await openCamera(byId("video"), about.still_side, noCamera);
    if (document.body.dataset.screen === from) begin(source);
    else source.stop(); // the visitor went back in the meantime
  } catch (error) {
    if (document.body.dataset.screen !== from || (retries && retry === retries)) return;
    if (error.name === "NotAllowedError") trouble("camera", {}, startCamera);
    else if (error.name === "SecurityError") trouble("secure", {}, startCamera);
    else noCamera();
  }
}

function noCamera() {
  finish();
  trouble("none", {}, startCamera);
  retry = { at: performance.now() };
}

const choosePhoto = () => byId("file").click();

async function startPhoto() {
  const [file] = byId("file").files;
  byId("file").value = "";
  if (!file) return;
  try {
    begin(await openPhoto(file));
  } catch {
    trouble("photo", { name: file.name }, choosePhoto);
  }
}

function begin(source) {
  finish();
  const canvas = document.createElement("canvas");
  const mine = (visit = { source, canvas, seen: performance.now(), faces: 0 });
  stage.mirror = source.camera;
  setAge(Number(byId("age").max));
  setSplit(true);
  setStatus("starting");
  show("live");
  visit.connection = new Connection(
    about.window,
    () => ({ type: "start", consent: true, years: Number(byId("age").value), language: language() }),
    {
      frame: showFrame,
      still: (message) => mine.answer?.(message),
      clip: (message) => {
        working(false);
        kept.open("clip", message, [{ url: `/stills/${message.token}.gif`, alt: text("clip_alt") }]);
      },
      strip: (head, files) => {
        working(false);
        const pictures = files.map((file, i) => {
          const label = head.labels[i];
          return { url: URL.createObjectURL(file), label, alt: text("strip_alt", { label }) };
        });
        kept.open("strip", head, pictures);
      },
      printed: () => kept.tell("printed"),
      problem: (message) => {
        mine.answer?.(null);
        working(false);
        if (kept.isOpen) kept.tell(`problem_${message.code}`);
        else setStatus(`problem_${message.code}`, {}, 3000);
      },
      lost: (why) => {
        mine.answer?.(null);
        working(false);
        setStatus(why);
      },
    },
  );
  send(visit);
}

function finish() {
  kept.close();
  if (visit) {
    visit.source.stop();
    visit.connection.close();
    visit = null;
  }
  working(false);
  stage.clear();
}

function leave() {
  finish();
  byId("languages").close();
  setLanguage(firstLanguage());
  show("attract");
}

// Frames.

async function send(mine) {
  let last = -Infinity;
  while (visit === mine) {
    await mine.source.next();
    const now = performance.now();
    const { source, connection, canvas } = mine;
    if (visit !== mine || !connection.free || !source.width || now - last < 900 / about.max_fps) continue;
    last = now;
    draw(source, canvas, about.side / Math.max(source.width, source.height));
    const [original, jpeg] = await Promise.all([createImageBitmap(canvas), encoded(canvas, JPEG_QUALITY)]);
    if (visit === mine && connection.free) connection.show(jpeg, original);
    else original.close();
  }
}

/** The source's picture, made smaller by that scale; never larger. */
function draw(source, canvas, scale) {
  canvas.width = Math.round(Math.min(1, scale) * source.width);
  canvas.height = Math.round(Math.min(1, scale) * source.height);
  canvas.getContext("2d").drawImage(source.picture, 0, 0, canvas.width, canvas.height);
}

/** All pixels of the source that the kiosk takes, as a JPEG. */
async function photographed(source) {
  const canvas = document.createElement("canvas");
  const most = Math.sqrt(about.still_pixels / (source.width * source.height));
  for (let scale = Math.min(1, most); ; scale *= 0.8) {
    draw(source, canvas, scale);
    const jpeg = await encoded(canvas, STILL_QUALITY);
    if (jpeg.size <= about.still_bytes) return jpeg;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const encoded = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));

async function showFrame(head, original, file) {
  const mine = visit;
  const result = await createImageBitmap(file);
  if (visit === mine) {
    stage.show(original, result);
    const count = head.faces.filter((face) => face.strength >= SEEN).length;
    if (count && mine.source.camera) mine.seen = performance.now();
    mine.faces = count;
    mine.fading = head.faces.length > 0 && !head.full;
    mine.frames = (mine.frames ?? 0) + 1;
    document.body.dataset.frames = mine.frames;
    tellFaces(mine);
  }
  original.close();
  result.close();
}

// What the visitor is told.

let held = 0; // until when a message stays, whatever the faces do

function setStatus(name, values = {}, milliseconds = 0) {
  const line = text(name, values);
  held = milliseconds ? performance.now() + milliseconds : 0;
  if (byId("status").textContent !== line) byId("status").textContent = line;
  byId("status").classList.toggle("calm", name === "faces");
}

function tellFaces(mine) {
  const left = secondsLeft();
  if (performance.now() < held) return;
  if (left <= WARN) setStatus("leaving", { time: duration(Math.max(0, Math.ceil(left))) });
  else if (!mine.faces) setStatus(mine.source.camera ? "faces_none" : "photo_no_face");
  else setStatus("faces", { count: mine.faces });
}

function secondsLeft() {
  const last = visit ? Math.max(visit.seen, touched) : touched;
  const seen = visit?.source.camera && byId("still").ariaDisabled !== "true"; // while a picture is made no frame comes
  const idle = seen ? about.idle_seconds : Math.max(MIN_IDLE, about.idle_seconds);
  return idle - (performance.now() - last) / 1000;
}

/** Twice a second: nobody is waited for on any screen, and a camera that comes is used. */
function watch() {
  const left = secondsLeft();
  if (left <= 0 && (document.body.dataset.screen !== "attract" || language() !== firstLanguage())) leave();
  else if (visit && left <= WARN) tellFaces(visit);
  else if (retry && performance.now() - retry.at > 1000 * CAMERA_RETRY) {
    retry.at = performance.now();
    startCamera();
  }
}

function working(on) {
  // Not disabled: a button that has the focus would lose it.
  for (const id of ["still", "strip", "clip"]) byId(id).ariaDisabled = on;
  byId("count").textContent = "";
  if (on) setStatus("working", {}, Infinity);
  else held = 0;
}

// Controls.

function setAge(years) {
  const age = byId("age");
  age.value = years;
  age.ariaValueText = text("years_spoken", { years });
  age.style.setProperty("--fill", `${(100 * (years - age.min)) / (age.max - age.min)}%`);
  byId("number").textContent = number(years);
  byId("years").textContent = text("years", { years });
  byId("tag-after").textContent = text("after", { years });
}

function setSplit(on) {
  stage.split = on;
  byId("compare").ariaPressed = on;
}

/** Ask for a strip or a clip. */
async function ask(type) {
  if (byId(type).ariaDisabled === "true") return;
  const mine = visit;
  working(true);
  if (!(await getReady(mine, about.countdown_seconds, "look"))) return;
  if (!mine.connection.say({ type })) unconnected();
}

/** Take pictures, of a camera several, with all its pixels; the visitor keeps one. */
async function takePictures() {
  if (byId("still").ariaDisabled === "true") return;
  const mine = visit;
  const count = mine.source.camera ? about.shots : 1;
  const taken = [];
  working(true);
  for (let i = 1; i <= count; i++) {
    const seconds = i === 1 ? about.countdown_seconds : Math.min(1, about.countdown_seconds);
    if (!(await getReady(mine, seconds, count > 1 ? "shot_left" : "look", { number: i, count }))) return;
    const jpeg = await photographed(mine.source);
    const answer = new Promise((resolve) => (mine.answer = resolve));
    if (visit !== mine) return;
    if (!mine.connection.still(jpeg)) {
      unconnected();
      break;
    }
    const message = await answer;
    if (visit !== mine) return;
    if (!message) break;
    taken.push(message);
  }
  if (!taken.length) return;
  working(false);
  const picture = ({ token }, i) => ({ url: `/stills/${token}.jpg`, alt: text("shot_alt", { number: i + 1 }) });
  const chosen = taken.length > 1 ? await kept.choose(taken.map(picture)) : 0;
  if (visit !== mine) return;
  for (const [i, { token }] of taken.entries()) if (i !== chosen) mine.connection.say({ type: "forget", token });
  if (chosen < 0) return;
  const { token } = taken[chosen];
  kept.open("still", taken[chosen], [{ url: `/stills/${token}.jpg`, alt: text("still_alt") }]);
}

/**
 * Of a camera count down, with that text, so that people look into it; wait until the face has all of its change, and flash.
 * False if the visit ended meanwhile.
 */
async function getReady(mine, seconds, name, values = {}) {
  const counted = mine.source.camera ? seconds : 0;
  if (counted) setStatus(name, values, Infinity);
  for (let left = counted; left > 0; left--) {
    byId("count").textContent = number(left);
    await pause(1000);
    if (visit !== mine) return false;
  }
  working(true);
  const end = performance.now() + FADE_MS;
  while (visit === mine && mine.fading && performance.now() < end) await pause(50);
  if (visit !== mine) return false;
  if (counted) flash();
  return true;
}

function flash() {
  const { classList } = byId("flash");
  classList.remove("on");
  void byId("flash").offsetWidth; // so that it begins anew
  classList.add("on");
}

function unconnected() {
  working(false);
  setStatus("reconnecting");
}

/** Enter does what a screen is for, wherever the focus is: of one button, a pedal or a remote. */
function press(event) {
  if (event.key !== "Enter" || event.repeat || event.target.closest("button, a")) return;
  if (performance.now() - shown < 1000 * READ) return;
  const top = document.querySelector("dialog[open]") ?? byId(document.body.dataset.screen);
  top?.querySelector(".primary")?.click();
}

function wire() {
  byId("begin").onclick = () => show("consent");
  byId("language").onclick = () => byId("languages").showModal();
  byId("agree").onclick = startCamera;
  byId("decline").onclick = byId("back").onclick = byId("finish").onclick = leave;
  byId("consent-photo").onclick = byId("trouble-photo").onclick = choosePhoto;
  byId("file").onchange = startPhoto;
  byId("age").oninput = ({ target }) => {
    setAge(Number(target.value));
    visit?.connection.say({ type: "age", years: Number(target.value) });
  };
  byId("compare").onclick = () => setSplit(!stage.split);
  byId("still").onclick = takePictures;
  for (const id of ["strip", "clip"]) byId(id).onclick = () => ask(id);
  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(kind, () => (touched = performance.now()));
  }
  document.addEventListener("keydown", press);
  setInterval(watch, 500);
}

/** What reaches the disk of the machine whose screen this is goes. */
function makePublic() {
  document.body.classList.add("public");
  for (const kind of ["contextmenu", "dragstart"]) document.addEventListener(kind, (event) => event.preventDefault());
}

// Languages.

/** The one in which a visit begins. */
const firstLanguage = () => about.language ?? preferred(about.languages);

export function setLanguage(code) {
  setTexts(about.languages[code]);
  byId("language-name").textContent = text("name");
  byId("language").ariaLabel = text("language_label", { name: text("name") });
  byId("language").hidden = Object.keys(about.languages).length < 2;
  byId("consent-kept").textContent = about.kept_seconds
    ? text("consent_kept_staff", { time: duration(about.kept_seconds) })
    : text("consent_kept", { time: duration(about.still_seconds) });
  for (const button of byId("language-choice").children) button.ariaCurrent = button.lang === code;
  setAge(Number(byId("age").value));
  stage.describe();
}

function languageButton([code, texts]) {
  const button = document.createElement("button");
  button.lang = code;
  button.dir = texts.direction;
  button.textContent = texts.name;
  button.onclick = () => {
    byId("languages").close();
    setLanguage(code);
  };
  return button;
}

function prepare() {
  kept.prints = about.print;
  if (about.logo) byId("logo").src = "/logo.png";
  byId("logo").hidden = !about.logo;
  byId("brand").hidden = about.logo;
  const { centers } = about;
  byId("age").min = Math.round(centers[0]);
  byId("age").max = Math.round(centers.at(-1));
  byId("ticks").replaceChildren(
    ...centers.map((center) => {
      const tick = document.createElement("span");
      tick.textContent = Math.round(center);
      tick.style.setProperty("--at", (center - centers[0]) / (centers.at(-1) - centers[0]));
      return tick;
    }),
  );
  byId("language-choice").replaceChildren(...Object.entries(about.languages).map(languageButton));
  setLanguage(firstLanguage());
}

while (!about) {
  try {
    about = await (await fetch("/page.json")).json();
  } catch {
    await pause(1000); // the kiosk restarts just now
  }
}
prepare();
wire();
if (about.public_screen) makePublic();
show("attract");
