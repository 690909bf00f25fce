// Names for a screen reader, of what the theme shows as a symbol alone, or names by its place on the page.
"use strict";

// By the theme's symbol; the one of the site leads to its first page.
const SYMBOLS = { search: "Search", more_horiz: "More", more_vert: "More", sync: "Home" };
const PARTS = { vDateField: "date", vTimeField: "time" };

function nameSymbols() {
  for (const symbol of document.querySelectorAll("a > .material-symbols-outlined, button > .material-symbols-outlined")) {
    const pressed = symbol.parentElement;
    const isAlone = pressed.textContent.trim() === symbol.textContent.trim();
    if (isAlone && !pressed.hasAttribute("aria-label")) {
      const words = SYMBOLS[symbol.textContent.trim()];
      if (words) pressed.setAttribute("aria-label", words);
    }
  }
}

// Cells of lines by their heading; the two fields of a time by the one label that they have.
function nameFields() {
  for (const field of document.querySelectorAll("#searchbar, fieldset input, fieldset select, fieldset textarea")) {
    if (field.type === "hidden" || field.labels?.length || field.hasAttribute("aria-label")) continue;
    const label = field.closest("[data-label]")?.dataset.label ?? field.closest(".field-line")?.querySelector("label")?.innerText;
    const part = Object.keys(PARTS).find((name) => field.classList.contains(name));
    const words = [label || field.placeholder, PARTS[part]].filter(Boolean).join(", ");
    if (words) field.setAttribute("aria-label", words);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  nameSymbols();
  nameFields();
});
