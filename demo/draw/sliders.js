// beta and gamma as the heat of Look inside sees them. It follows every step by itself, so while it is in view gradio
// hears of them once they rest: for each step it would copy the state of its parts, and an answer costs several frames.
// Runs once, when the page has opened.
() => {
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
