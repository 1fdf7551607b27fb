// Ties paper, model server and cards together.

import { Card } from "./card.js";
import { Pad } from "./pad.js";
import { mnistPixels, SIDE } from "./preprocess.js";
import { SAMPLES } from "./samples.js";
import { listModels, predict } from "./server.js";

const RETRY_MS = 2000;
const $ = (id) => document.getElementById(id);

let cards = [];
let listing = false;
let down = false; // the model server, when it was last asked
let timer = 0;
let pixels = null; // what is on the paper, as the models get it
let dirty = false; // the paper has changed since it was read
let asked = null; // the pixels that the cards answer, or are being asked for
let abort = new AbortController();

const pad = new Pad($("pad"), () => {
  if (!dirty) requestAnimationFrame(read);
  dirty = true;
});

function read() {
  dirty = false;
  pixels = mnistPixels(pad.ink(), pad.canvas.width, pad.canvas.height);
  $("hint").hidden = pixels !== null;
  preview();
  if (pixels === null) {
    forget();
    cards.forEach((card) => card.clear());
    $("verdict").textContent = "";
  } else if (asked === null) answer();
}

// Gives up what is being asked.
function forget() {
  abort.abort();
  asked = null;
}

function preview() {
  const image = new ImageData(SIDE, SIDE);
  pixels?.forEach((ink, i) => { image.data[4 * i + 3] = ink; });
  $("preview").getContext("2d").putImageData(image, 0, 0);
}

// Asks about the newest drawing until the answers are of that. One model after the other: asked
// at once, they would slow each other down, and the times say so of the wrong one.
async function answer() {
  abort = new AbortController();
  const { signal } = abort;
  while (pixels !== null && pixels !== asked) {
    asked = pixels;
    const tops = [];
    for (const card of cards.filter((card) => card.model.problem === null)) {
      try {
        const { scores, milliseconds } = await predict(card.model.name, asked, signal);
        if (signal.aborted) return;
        tops.push(card.show(scores, milliseconds));
      } catch (error) {
        if (signal.aborted) return;
        card.fault(error.message);
        list(); // tells whether it is the model or the whole server
      }
    }
    if (pixels === asked) $("verdict").textContent = verdict(tops);
  }
  asked = null;
}

function verdict(tops) {
  if (tops.length === 0) return "";
  if (new Set(tops).size === 1) return tops.length === 1 ? `It says ${tops[0]}.` : `All say ${tops[0]}.`;
  return `They differ: ${tops.join(", ")}.`;
}

// Lists the models, and again soon as long as something is missing.
async function list() {
  if (listing) return;
  listing = true;
  clearTimeout(timer);
  let found;
  try {
    found = await listModels();
  } catch {
    found = { problem: "The demo's own server has stopped.", start: "python -m serving.demo", models: [] };
  }
  listing = false;
  const wasDown = down;
  down = found.problem !== null;
  if (down || found.models.some((model) => model.problem !== null)) timer = setTimeout(list, RETRY_MS);
  if (found.server) $("server").textContent = found.server;
  $("problem").hidden = !down;
  if (down) {
    $("problem-text").textContent = found.problem;
    $("problem-start").textContent = found.start;
    return; // the cards keep their last answers
  }
  const known = JSON.stringify(cards.map((card) => card.model));
  if (known === JSON.stringify(found.models) && !wasDown) return;
  forget();
  cards = found.models.map((model) => new Card(model));
  $("models").replaceChildren(...cards.map((card) => card.element));
  if (pixels !== null) answer();
}

SAMPLES.forEach((path, digit) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = String(digit);
  button.setAttribute("aria-label", `Sample ${digit}`);
  button.addEventListener("click", () => pad.trace(path));
  $("samples").append(button);
});
$("clear").addEventListener("click", () => pad.clear());
$("retry").addEventListener("click", list);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") pad.clear();
});
list();
