// The legend's chips: pointing at one, or reaching it by keyboard, leaves its class alone in the picture; a click hides
// or shows it, a double click hides all others. `element`, `trigger` and `watch` are gradio's. canvas.js draws.
const view = (window.view ??= { hidden: new Set() });
const hidden = view.hidden; // names, also of classes that are in no legend now
const legend = element.closest("#legend");
const chips = () => [...element.querySelectorAll(".chip")];
const chipOf = (event) => event.target.closest?.(".chip");

function tell() {
  for (const chip of chips()) chip.setAttribute("aria-pressed", String(!hidden.has(chip.dataset.name)));
  const all = element.querySelector(".all");
  if (all) all.hidden = chips().every((chip) => !hidden.has(chip.dataset.name));
  document.dispatchEvent(new Event("hidden"));
}

function change() {
  legend.dataset.hidden = JSON.stringify([...hidden]);
  tell();
  trigger("click");
}

function alone(chip) {
  view.alone = chip && !hidden.has(chip.dataset.name) ? Number(chip.dataset.index) : null;
  document.dispatchEvent(new Event("alone"));
}

element.addEventListener("pointerover", (event) => event.pointerType === "mouse" && chipOf(event) && alone(chipOf(event)));
element.addEventListener("pointerout", () => alone(null));
element.addEventListener("focusin", (event) => chipOf(event)?.matches(":focus-visible") && alone(chipOf(event)));
element.addEventListener("focusout", () => alone(null));
element.addEventListener("click", (event) => {
  const chip = chipOf(event);
  if (event.target.closest?.(".all")) {
    for (const { dataset } of chips()) hidden.delete(dataset.name);
    element.querySelector(".chip")?.focus();
    return change();
  }
  if (!chip || event.detail > 1) return;
  const name = chip.dataset.name;
  hidden.delete(name) || hidden.add(name);
  if (hidden.has(name)) alone(null);
  change();
});
element.addEventListener("dblclick", (event) => {
  const chosen = chipOf(event)?.dataset.name;
  if (!chosen) return;
  for (const { dataset } of chips()) hidden.add(dataset.name);
  hidden.delete(chosen);
  change();
});
watch("value", tell);
tell();
