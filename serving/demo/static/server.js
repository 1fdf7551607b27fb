// What the page asks: the list of models from the demo's server, scores from the model server.

async function ask(url, options) {
  const response = await fetch(url, options);
  const text = await response.text();
  let content = null;
  try {
    content = JSON.parse(text);
  } catch { /* said below, with the status */ }
  if (!response.ok || content === null)
    throw new Error(content?.error ?? `expected JSON, received ${response.status} ${response.statusText}`);
  return content;
}

export function listModels() {
  return ask("/models.json");
}

/** @returns {Promise<{scores: number[], milliseconds: number}>} the model's outputs, as trained */
export async function predict(name, pixels, signal) {
  const body = JSON.stringify({ instances: [Array.from(pixels)] });
  const headers = { "Content-Type": "application/json" };
  const start = performance.now();
  const answer = await ask(`/v1/models/${name}:predict`, { method: "POST", headers, body, signal });
  const milliseconds = performance.now() - start;
  // TF Serving leaves the name out where a signature has one output.
  const first = answer.predictions?.[0];
  const scores = first?.scores ?? first;
  if (!Array.isArray(scores) || !scores.every(Number.isFinite))
    throw new Error("expected a list of scores, received another answer: is this a classifier?");
  return { scores, milliseconds };
}
