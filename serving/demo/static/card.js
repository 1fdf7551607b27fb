// The card of one model: what it is, its answer, and its scores as bars from zero.

export class Card {
  constructor(model) {
    this.model = model;
    this.element = document.getElementById("model").content.firstElementChild.cloneNode(true);
    this.element.dataset.name = model.name;
    this.#find("h3").textContent = title(model);
    this.#find(".name").textContent = model.nodes === null ? "" : model.name;
    this.#find(".name").title = model.title ?? "";
    this.#find(".facts").textContent = facts(model);
    this.rows = [];
    this.clear();
  }

  clear() {
    this.#find(".top").textContent = "–";
    this.#find(".time").textContent = "";
    for (const { row, bar, value } of this.#rows(this.model.classes?.length ?? 10)) {
      row.classList.remove("best");
      bar.style.setProperty("--length", "0");
      value.textContent = "";
    }
    this.fault(this.model.problem);
  }

  /** Shows scores, any finite numbers; returns the name of the top class. */
  show(scores, milliseconds) {
    const low = Math.min(0, ...scores), span = Math.max(0, ...scores) - low || 1;
    const best = scores.indexOf(Math.max(...scores));
    this.#rows(scores.length).forEach(({ row, bar, value }, k) => {
      const percent = (number) => `${(100 * number) / span}%`;
      row.classList.toggle("best", k === best);
      bar.parentElement.style.setProperty("--zero", percent(-low));
      bar.style.setProperty("--from", percent(Math.min(0, scores[k]) - low));
      bar.style.setProperty("--length", percent(Math.abs(scores[k])));
      value.textContent = short(scores[k]);
    });
    this.#find(".top").textContent = this.#label(best);
    this.#find(".time").textContent = `${milliseconds.toFixed(1)} ms`;
    this.fault(null);
    return this.#label(best);
  }

  fault(text) {
    this.element.classList.toggle("stale", text !== null);
    this.#find(".fault").textContent = text ?? "";
    this.#find(".fault").hidden = text === null;
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #label(k) {
    return this.model.classes?.[k] ?? String(k);
  }

  #rows(count) {
    while (this.rows.length < count) {
      const row = this.#find("tbody").insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = this.#label(this.rows.length);
      const track = document.createElement("span"), bar = document.createElement("span");
      track.className = "track";
      bar.className = "bar";
      track.append(bar);
      row.append(head);
      row.insertCell().append(track);
      const value = row.insertCell();
      value.className = "value";
      this.rows.push({ row, bar, value });
    }
    return this.rows;
  }
}

function title({ name, nodes, width }) {
  if (nodes === null) return name;
  return width === null ? `${nodes} nodes` : `${nodes} of ${width} nodes`;
}

function facts({ size, accuracy }) {
  const known = [];
  if (size !== null) known.push(`${Math.round(size / 1e3)} kB`);
  if (accuracy !== null) known.push(`test accuracy ${(100 * accuracy).toFixed(1)} %`);
  return known.join(" · ");
}

function short(score) {
  if (Math.abs(score) >= 1e4) return score.toExponential(1).replace("-", "−");
  const text = score.toFixed(2);
  return Number(text) === 0 ? "0.00" : text.replace("-", "−");
}
