/** Tell what may stand at the caret of a spec: keys, names of layers and others, and their arguments. */

import { call, make } from "./answers.js";

const MAX_CHOICES = 12;
const KINDS = { optimizer: "optimizers", loss: "losses", metrics: "metrics", learning_rate_schedule: "schedules", dataset: "datasets", layers: "layers", augmentation: "augmentation" };
/** The part of the catalog whose names a key takes. `kernel_regularizer` and others take that of their last word. */

export class Completion {
  /**
   * @param {HTMLTextAreaElement} text
   * @param {Element} place where it is told: with `[data-signature]` and `[data-choices]`
   * @param {Record<string, string[]>} keys the keys of the spec, and of its parts by their names
   */
  constructor(text, place, keys) {
    Object.assign(this, { text, place, keys, catalog: null });
    [this.hint, this.signature, this.choices] = ["[data-hint]", "[data-signature]", "[data-choices]"].map((selector) => place.querySelector(selector));
    place.hidden = false;
    for (const name of ["click", "keyup"]) text.addEventListener(name, () => this.show());
    text.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey && event.code === "Space")) return;
      event.preventDefault();
      this.show().then(() => this.choices.querySelector("button")?.focus({ preventScroll: true }));
    });
    place.addEventListener("keydown", (event) => {
      const buttons = [...this.choices.children], at = buttons.indexOf(event.target);
      if (event.key === "Escape") text.focus();
      const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1 }[event.key];
      if (at < 0 || next === undefined) return;
      event.preventDefault();
      buttons[(next + buttons.length) % buttons.length].focus();
    });
  }

  /** Show what may stand here. */
  async show() {
    this.catalog ??= await call("/api/v1/catalog").catch(() => null);
    if (!this.catalog || this.choices.contains(document.activeElement)) return; // who chooses is not disturbed
    const { value, selectionStart: caret } = this.text;
    const found = findContext(value, caret);
    const known = found && this.#find(found.named, found.parent);
    this.signature.hidden = !known;
    if (known) this.#describe(known);
    const [names, end] = found ? this.#list(found, known) : [[], ""];
    const word = found?.word ?? "";
    const fitting = names.filter((name) => name.toLowerCase().startsWith(word.toLowerCase()) && name !== word).slice(0, MAX_CHOICES);
    this.choices.hidden = !fitting.length;
    this.choices.replaceChildren(...fitting.map((name) => {
      const button = make("button", { type: "button", class: "small", translate: "no" }, name);
      button.addEventListener("click", () => this.#insert(caret - word.length, caret, name + end));
      return button;
    }));
    this.hint.hidden = Boolean(known || fitting.length);
  }

  /** Return all that may stand in the place of a word, and what follows it. */
  #list({ parent, key, present }, known) {
    if (key === null) {
      const names = known ? known.arguments.map((one) => one.name) : this.keys[parent] ?? [];
      return [names.filter((name) => !present.includes(name)), ": "];
    }
    const type = known?.arguments.find((one) => one.name === key)?.type;
    const kind = key === "layer" || key === "name" ? chooseKind(parent) : KINDS[key] ?? (type && `${type}s`);
    return [(this.catalog[kind] ?? []).map((one) => one.name ?? one), ""];
  }

  #find(name, parent) {
    return name ? (this.catalog[chooseKind(parent)] ?? []).find((one) => one.name === name && one.arguments) : undefined;
  }

  #describe({ name, description, arguments: all }) {
    const list = all.map((one) => (one.required ? one.name : `${one.name}=${JSON.stringify(one.default)}`)).join(", ");
    this.signature.replaceChildren(make("code", {}, `${name}(${list})`), make("span", { lang: "en" }, ` ${description}`));
  }

  #insert(from, to, text) {
    this.text.focus();
    this.text.setRangeText(text, from, to, "end");
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
    this.show();
  }
}

/** Return the part of the catalog whose names stand below a key. @param {string} parent */
function chooseKind(parent) {
  return KINDS[parent] ?? `${parent.split("_").at(-1)}s`;
}

/**
 * Return what stands around the caret: the key above, the name of a layer or another part that the mapping has, the keys
 * that it has, the key whose value the caret is in, null for a place of a key, and the word before the caret.
 * Returns null in a comment, in a text in quotes, and where neither a key nor a name can stand.
 * @param {string} value
 * @param {number} caret
 */
export function findContext(value, caret) {
  const start = value.lastIndexOf("\n", caret - 1) + 1, before = value.slice(start, caret), above = value.slice(0, start);
  if (/(^|\s)#/.test(before) || before.split('"').length % 2 === 0 || before.split("'").length % 2 === 0) return null;
  const flat = before.replace(/\{[^{}]*\}/g, ""); // without the mappings that are closed
  const brace = flat.lastIndexOf("{");
  if (brace >= 0) {
    const inner = flat.slice(brace + 1), rest = value.slice(caret).split(/[}\n]/, 1)[0];
    const parent = /([a-z_]+):[^:]*$/.exec(flat.slice(0, brace))?.[1] ?? findParent(above, /^ */.exec(before)[0].length);
    return describe(inner, inner + rest, parent, [...(inner + rest).matchAll(/([a-z_]+):/g)].map((found) => found[1]));
  }
  const [, spaces, dash] = /^( *)(- )?/.exec(before), indent = spaces.length + (dash?.length ?? 0);
  const [block, isItem] = dash ? [[], false] : takeBlock(above.split("\n").slice(0, -1).reverse(), indent);
  const [after] = takeBlock(value.slice(caret).split("\n").slice(1), indent);
  const whole = [...block, value.slice(start).split("\n", 1)[0].slice(indent), ...after];
  const present = whole.map((line) => /^([a-z_]+):/.exec(line)?.[1]).filter(Boolean);
  return describe(before.slice(indent), whole.join("\n"), findParent(above, spaces.length - (isItem ? 2 : 0)), present);
}

function describe(inner, mapping, parent, present) {
  const named = /(?:^|[\s,{])(?:layer|name):\s*(\w+)/.exec(mapping)?.[1];
  const given = /(?:^|,)\s*([a-z_]+):\s*(?:\[(?:[^\]]*,)?\s*)?([\w.]*)$/.exec(inner);
  if (given) return { parent, named, present, key: given[1], word: given[2] };
  const begun = /(?:^|,)\s*([a-z_]*)$/.exec(inner);
  return begun && { parent, named, present, key: null, word: begun[1] };
}

/**
 * Return the lines of a mapping in block style without their indent, from the caret up or down, and whether the mapping is
 * an item of a list, whose dash ended the way up.
 */
function takeBlock(lines, indent) {
  const taken = [];
  for (const line of lines) {
    const own = /^ */.exec(line)[0].length;
    if (line.trim() && own < indent) {
      const isItem = own + 2 === indent && line.startsWith("- ", own);
      return [isItem ? [...taken, line.slice(indent)] : taken, isItem];
    }
    if (own === indent) taken.push(line.slice(indent));
  }
  return [taken, false];
}

/** Return the key that a line stands below. @param {string} above @param {number} indent */
function findParent(above, indent) {
  for (const line of above.split("\n").reverse()) {
    const found = /^( *(?:- )?)([a-z_]+):/.exec(line);
    if (found && found[1].length < indent) return found[2];
  }
  return "";
}
