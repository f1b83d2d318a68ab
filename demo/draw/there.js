// Until an element is on the page: each part comes when its own script has been loaded, in no certain order.
const there = (id) => new Promise((ready) => {
  const look = () => document.getElementById(id) && (waiting.disconnect(), ready());
  const waiting = new MutationObserver(look);
  waiting.observe(document, { childList: true, subtree: true });
  look();
});
