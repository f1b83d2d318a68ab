// Arrow keys, Home and End move along a row of tabs; Enter or the space bar opens the one that is reached, as that may
// take a while. Runs once, when the page has opened.
() => {
  document.addEventListener("keydown", (event) => {
    const row = event.target.matches?.("[role=tab]") && event.target.closest("[role=tablist]");
    if (!row) return;
    const tabs = [...row.querySelectorAll("[role=tab]")], at = tabs.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: (at + 1) % tabs.length, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault(); // the page would scroll
    tabs.at(to).focus();
  });
}
