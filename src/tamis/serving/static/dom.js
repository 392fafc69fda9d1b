// Creates elements without markup: the content of a message becomes a text node or an attribute, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element with that id. */
export const byId = (id) => document.getElementById(id);

/** An element with attributes (true: present, false and null: absent) and children (strings become text nodes). */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG elements. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** A text for screen readers only. */
export const hidden = (text) => element("span", { class: "hidden" }, text);

/** A button; `more` completes its name for screen readers. */
export function button(text, more, press, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text, more ? hidden(` ${more}`) : null);
  made.addEventListener("click", press);
  return made;
}

/** Fill a select with pairs of value and text. */
export function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
}

/** Ignore clicks on a button while its work is running; the button keeps the focus. */
export async function busy(pressed, work) {
  if (pressed.getAttribute("aria-disabled") === "true") return;
  pressed.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    pressed.removeAttribute("aria-disabled");
  }
}

/** Announce an event to screen readers. */
export function announce(text) {
  byId("said").textContent = text;
}

/** Show an error until the next action; it does not disappear by itself. */
export function complain(text) {
  byId("alert").replaceChildren(...(text ? [element("p", { class: "notice" }, text)] : []));
}

/** A whole number with separators. */
export const count = (number) => number.toLocaleString("en");

/** A count with its noun. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A probability with three decimals; values close to 0 or 1 are never shown as 0 or 1. */
export function probability(value) {
  if (value > 0 && value < 0.001) return "< 0.001";
  if (value < 1 && value > 0.999) return "> 0.999";
  return value.toFixed(3);
}

/** The beginning of a long text, with the number of omitted characters. */
export function beginning(text, most) {
  if (text.length <= most) return text;
  // Half of a surrogate pair would be shown as a broken character.
  const end = /[\uD800-\uDBFF]/.test(text[most - 1]) ? most - 1 : most;
  return `${text.slice(0, end)} … (${count(text.length - end)} more characters)`;
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
