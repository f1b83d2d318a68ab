// The words of the legend's chips are changed: in the form below them, which "…" beside a chip, F2 or a word that was
// not found opens; by Delete; or by dragging one chip onto another. The server rewrites the words in their box.
// `element` and `trigger` are gradio's.
const legend = document.getElementById("legend");
const form = element.querySelector("form");
const { words, onto } = form.elements;
let name = ""; // of the class that the form is about
let dragged = "";
let follow = null; // the class whose chip is to have the focus when the legend is there anew

const named = (chosen) => legend.querySelector(`[data-words][data-name="${CSS.escape(chosen)}"]`);
const chipOf = (event) => event.target.closest?.("[data-words]");

function open(chip) {
  name = chip.dataset.name;
  words.value = chip.dataset.words;
  const others = [...legend.querySelectorAll("[data-words]")].map((other) => other.dataset.name).filter((other) => other !== name);
  onto.replaceChildren(new Option("", ""), ...others.map((other) => new Option(other, other)));
  onto.parentElement.hidden = !others.length;
  form.hidden = false;
  words.focus();
  words.select();
}

function close() {
  form.hidden = true;
  (named(name) ?? legend.querySelector(".chip"))?.focus();
}

function tell(told) {
  follow = told.onto ?? told.words ?? "";
  form.hidden = true;
  trigger("submit", told);
}

legend.addEventListener("click", (event) => {
  const chip = event.target.closest?.(".edit") ? event.target.closest("li").querySelector(".chip") : chipOf(event);
  if (chip && !event.target.closest(".chip")) open(chip);
});
legend.addEventListener("keydown", (event) => {
  const chip = chipOf(event);
  if (!chip || !["F2", "Delete"].includes(event.key)) return;
  event.preventDefault();
  event.key === "F2" ? open(chip) : tell({ name: chip.dataset.name, words: "" });
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  tell(onto.value ? { name, onto: onto.value } : { name, words: words.value });
});
form.addEventListener("click", ({ target }) => {
  if (target.name === "out") tell({ name, words: "" });
  if (target.name === "leave") close();
});
form.addEventListener("keydown", (event) => event.key === "Escape" && close());

legend.addEventListener("dragstart", (event) => {
  dragged = chipOf(event)?.dataset.name ?? "";
  event.dataTransfer.setData("text/plain", dragged);
});
legend.addEventListener("dragend", () => (dragged = ""));
for (const type of ["dragover", "drop"]) {
  legend.addEventListener(type, (event) => {
    const chip = chipOf(event);
    if (!dragged || !chip || chip.dataset.name === dragged) return;
    event.preventDefault(); // it may be dropped here
    if (type === "drop") tell({ name: dragged, onto: chip.dataset.name });
  });
}
new MutationObserver(() => {
  if (!form.hidden && !named(name)) form.hidden = true; // another result has come
  if (follow === null) return;
  const first = follow.split(/[,;|]/)[0].trim();
  if (document.activeElement === document.body) (named(first) ?? legend.querySelector(".chip"))?.focus({ preventScroll: true });
  follow = null;
}).observe(legend, { childList: true, subtree: true });
