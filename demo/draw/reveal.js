// On a phone: brings the result into view, or what is said in its place, and keeps it there while what is above it
// comes and goes: a scroll ends where it was bound for. Whoever does something meanwhile scrolls for themselves.
() => {
  if (!matchMedia("(max-width: 700px)").matches) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  const bring = () => {
    const told = document.querySelector("#message [role=alert]") ?? document.getElementById("overlay");
    told.scrollIntoView({ behavior, block: "start" });
  };
  const layout = new ResizeObserver(bring); // which looks for the first time at once
  const leave = () => layout.disconnect();
  layout.observe(document.body);
  setTimeout(leave, 5000);
  for (const act of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(act, leave, { once: true });
}
