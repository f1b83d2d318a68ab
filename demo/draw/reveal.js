// On a phone: brings the result into view, or what is said in its place.
() => {
  if (!matchMedia("(max-width: 700px)").matches) return;
  const told = document.querySelector("#message [role=alert]") ?? document.getElementById("overlay");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  told.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
}
