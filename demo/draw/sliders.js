// What gradio's sliders do not do by themselves. Runs once, when the page has opened.
() => {
  // The button that puts a slider back sets its number alone: all that follows a movement follows it, too.
  document.addEventListener("click", ({ target }) => {
    const input = target.closest?.(".reset-button")?.closest(".block").querySelector("input[type=range]");
    if (input) requestAnimationFrame(() => input.dispatchEvent(new Event("input", { bubbles: true })));
  });

  // beta and gamma as the heat of Look inside sees them. It follows every step by itself, so while it is in view gradio
  // hears of them once they rest: for each step it would copy the state of its parts, and an answer costs several frames.
  const REST = 250; // milliseconds
  let timer, rested = false;
  document.addEventListener("input", (event) => {
    const { target, bubbles } = event, slider = target.closest?.("#beta, #gamma");
    if (!slider || !bubbles || rested) return;
    clearTimeout(timer);
    if (target.value) document.dispatchEvent(new CustomEvent("shown", { detail: { [slider.id]: Number(target.value) } }));
    if (!document.querySelector("#inside-live .panes")?.offsetParent) return;
    event.stopImmediatePropagation();
    target.dispatchEvent(new Event("input")); // for the slider alone, whose number and bar follow
    timer = setTimeout(() => {
      rested = true;
      target.dispatchEvent(new Event("input", { bubbles: true }));
      rested = false;
    }, REST);
  }, true); // before gradio
}
