// Follows a run, or a request, while its page is open: what the page's own address for events says is put in its place.
"use strict";

(() => {
  const followed = document.querySelector("[data-events]");
  if (!followed) return;
  const output = document.getElementById("live-output");
  const report = document.getElementById("live-report");
  const mostLines = 5000;
  const source = new EventSource(followed.dataset.events);

  source.addEventListener("output", (event) => {
    const isAtEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
    output.hidden = false;
    output.insertAdjacentHTML("beforeend", event.data);
    while (output.childElementCount > mostLines) output.firstElementChild.remove();
    if (isAtEnd) output.scrollTop = output.scrollHeight;
    document.getElementById("live-empty")?.remove();
  });

  source.addEventListener("report", (event) => {
    report.innerHTML = event.data;
  });

  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
})();
