// The legend's chips: a click hides or shows a class; pointing at a chip, or reaching it by keyboard, leaves its class
// alone in the picture. `element`, `trigger` and `watch` are gradio's. data-map is a small PNG of class indices.
const veil = document.createElement("canvas");
veil.id = "veil";
veil.setAttribute("aria-hidden", "true");
let indices = null;

function read() {
  veil.remove();
  indices = null;
  const address = element.querySelector(".legend")?.dataset.map;
  if (!address) return;
  const image = new Image();
  image.onload = () => {
    const { width, height } = Object.assign(veil, { width: image.width, height: image.height });
    const pen = veil.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    indices = pen.getImageData(0, 0, width, height).data;
  };
  image.src = address;
}

function isolate(index) {
  const picture = document.querySelector("#overlay img");
  if (!picture || !indices) return;
  const pixels = new ImageData(veil.width, veil.height);
  const grey = document.body.classList.contains("dark") ? 0 : 255;
  for (let i = 0; i < pixels.data.length; i += 4) {
    const other = (indices[i] | (indices[i + 1] << 8)) !== index;
    pixels.data.set([grey, grey, grey, other ? 215 : 0], i);
  }
  veil.getContext("2d").putImageData(pixels, 0, 0);
  const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = picture;
  veil.style.cssText = `left:${offsetLeft}px;top:${offsetTop}px;width:${offsetWidth}px;height:${offsetHeight}px`;
  veil.dataset.index = index;
  picture.parentElement.append(veil);
}

const chipOf = (event) => event.target.closest?.(".chip");

element.addEventListener("mouseover", (event) => chipOf(event) && isolate(Number(chipOf(event).dataset.index)));
element.addEventListener("mouseout", () => veil.remove());
element.addEventListener("focusin", (event) => {
  if (chipOf(event)?.matches(":focus-visible")) isolate(Number(chipOf(event).dataset.index));
});
element.addEventListener("focusout", () => veil.remove());
element.addEventListener("click", (event) => {
  const chip = chipOf(event);
  if (!chip) return;
  chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") === "false");
  trigger("click");
});
watch("value", read);
read();
