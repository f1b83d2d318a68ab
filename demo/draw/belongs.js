// Says on the result when it is no longer of the picture, the words or the models that are asked for.
(shown, picture, words, clip, family, patch) => {
  const asked = JSON.parse(shown || null)?.asked;
  const overlay = document.getElementById("overlay");
  let line = document.getElementById("belongs");
  if (!line) {
    line = Object.assign(document.createElement("p"), { id: "belongs" });
    line.setAttribute("role", "status");
    overlay.append(line);
  }
  const same = (one, other) => one.trim() === (other ?? "").trim();
  let told = "";
  if (asked && picture?.path !== asked.picture) told = "This result is of the picture before.";
  else if (asked && !same(asked.words, words)) told = "The words have changed: press Enter or Segment.";
  else if (asked && JSON.stringify([clip, family, patch]) !== JSON.stringify(asked.models)) {
    told = "This result is of the models before: press Segment for those that are chosen.";
  }
  if (line.textContent !== told) line.textContent = told;
  overlay.classList.toggle("elsewhere", Boolean(told));
}
