// What the theme leaves to those who see the page and have a mouse.
//
// Names for a screen reader, of what is shown as a symbol alone, or is named by its place on the page; and none for a
// symbol beside words, which would be read as a word of its own: “monitor_heart Health”. And keys for what only a mouse
// can press: the navigation on a small screen, the filters of a list, the menu with the way out.
"use strict";

// By the theme's symbol; the one of the site leads to its first page.
const SYMBOLS = {
  search: "Search", more_horiz: "More", more_vert: "More", sync: "Home",
  dock_to_right: "Navigation", close: "Close", visibility: "Show what is typed",
};
// Alpine's handlers on what is neither a link with an address nor a field.
const PRESSED = "a[x-on\\:click]:not([href]), div.cursor-pointer[x-on\\:click], span.material-symbols-outlined[x-on\\:click]";
const PARTS = { vDateField: "date", vTimeField: "time" };

function nameSymbols() {
  for (const symbol of document.querySelectorAll(".material-symbols-outlined")) {
    const pressed = symbol.closest("a, button, [role=button]") ?? symbol.parentElement;
    const isAlone = pressed.textContent.trim() === symbol.textContent.trim();
    const words = SYMBOLS[symbol.textContent.trim()];
    if (isAlone && words && !pressed.hasAttribute("aria-label")) pressed.setAttribute("aria-label", words);
    if (symbol !== pressed && (!isAlone || pressed.hasAttribute("aria-label"))) symbol.setAttribute("aria-hidden", "true");
  }
}

function letKeysPress() {
  for (const pressed of document.querySelectorAll(PRESSED)) {
    pressed.setAttribute("role", "button");
    pressed.tabIndex = 0;
    pressed.addEventListener("keydown", (event) => {
      if (event.target !== pressed || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      pressed.click();
    });
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
  letKeysPress();
  nameSymbols();
  nameFields();
});
