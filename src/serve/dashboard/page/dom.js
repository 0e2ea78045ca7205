/**
 * An element. Text goes in as text and nothing else: names come from outside (a symbol may look like markup).
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * The element of the page with an id.
 * @template {HTMLElement} Kind
 * @param {string} id @param {new () => Kind} kind @returns {Kind}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} "${id}"`);
}

/** @type {Map<string, string>} */
const colors = new Map();
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/**
 * A colour of the style sheet as canvases take it: what a custom property holds is not computed before it is used.
 * @param {string} name of the custom property @returns {string} `rgb(…)` of the theme that is on
 */
export function themeColor(name) {
  let color = colors.get(name);
  if (color === undefined) {
    probe.style.color = `var(${name})`;
    color = getComputedStyle(probe).color;
    colors.set(name, color);
  }
  return color;
}

/** The theme is another one now. */
export function forgetColors() {
  colors.clear();
}
