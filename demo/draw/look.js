// How results are to be drawn, told to canvas.js; what it gives back is kept in this browser.
(opacity, outlines, names) => {
  const view = (window.view ??= { hidden: new Set() });
  view.look = { opacity, outlines, names };
  document.dispatchEvent(new Event("look"));
  return view.look;
}
