// Elements with text in them. Text is never read as markup.

export function element(name, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The letter of a place on the screen.
export const letter = (place) => String.fromCharCode(65 + place);
