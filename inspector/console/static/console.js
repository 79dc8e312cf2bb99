/* What the pages do in the browser: ages that count, a sign when nothing is live, the heat map's slider, dialogs, keys. */
"use strict";
(() => {
  const LOST_AFTER_MS = 3000;
  let offset = 0;            // the server's clock less this one's
  let heardAt = performance.now();
  const line = document.querySelector("main.line");

  const span = (s) => s < 100 ? `${Math.floor(s)} s` : s < 6000 ? `${Math.floor(s / 60)} min`
    : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`;

  function showAges() {
    const now = Date.now() + offset;
    for (const each of document.querySelectorAll("[data-age]")) {
      const seconds = (now - Number(each.dataset.age)) / 1000;
      each.textContent = seconds < 1 ? "just now" : `${span(seconds)} ago`;
    }
    for (const card of document.querySelectorAll("[data-stale-s]")) {
      const seconds = (now - Number(card.dataset.at)) / 1000;
      card.classList.toggle("stale", seconds > Number(card.dataset.staleS));
    }
    if (!line) return;
    const silence = performance.now() - heardAt;
    const isLost = silence > LOST_AFTER_MS;
    document.getElementById("lost").hidden = !isLost;
    document.body.classList.toggle("is-lost", isLost);
    if (isLost) document.getElementById("lost-for").textContent = span(silence / 1000);
  }

  document.body.addEventListener("htmx:sseMessage", (event) => {
    const { type, data } = event.detail;
    if (type === "reload") { location.reload(); return; }
    heardAt = performance.now();
    if (type === "beat") offset = Number(data) - Date.now();
    showAges();
  });
  if (line || document.querySelector("[data-age]")) setInterval(showAges, 500);

  // Any range with data-fades sets the opacity of what it names.
  document.addEventListener("input", (event) => {
    const of = event.target.dataset?.fades;
    if (of) for (const each of document.querySelectorAll(of)) each.style.opacity = event.target.value / 100;
  });

  // Nothing can be said of a part before its picture is there.
  function ensureSeen() {
    const picture = document.querySelector("[data-must-load]");
    const answers = document.querySelectorAll("[data-review] button");
    if (!picture) return;
    const show = () => { for (const each of answers) each.disabled = !(picture.complete && picture.naturalWidth); };
    picture.addEventListener("load", show);
    picture.addEventListener("error", show);
    show();
  }
  ensureSeen();
  document.body.addEventListener("htmx:afterSwap", ensureSeen);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (button && !button.disabled) { event.preventDefault(); button.click(); }
  });

  // The threshold's slider moves its line, and its dialog repeats what would change.
  document.addEventListener("input", (event) => {
    if (!("movesThreshold" in (event.target.dataset ?? {}))) return;
    const x = Math.min(Number(event.target.value) / 2, 1) * 800;
    const mark = document.querySelector("[data-threshold]");
    mark.setAttribute("x1", x);
    mark.setAttribute("x2", x);
    document.querySelector("[data-needs-move]").disabled = false;
    document.querySelector("[data-level]").textContent = event.target.value;
    document.querySelector("[data-level-field]").value = event.target.value;
  });

  // Pictures for an enrolment go up one by one, then the form.
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-uploads]");
    if (!form || form.dataset.sent) return;
    const files = [...form.querySelectorAll("[data-files]")].flatMap((each) => [...each.files]);
    const pictures = files.filter((file) => /\.(jpe?g|png)$/i.test(file.name));
    if (!pictures.length) return;
    event.preventDefault();
    const box = document.getElementById("upload");
    const [bar, count] = [box.querySelector("progress"), box.querySelector("[data-uploaded]")];
    box.hidden = false;
    for (const [number, file] of pictures.entries()) {
      const answer = await fetch(`${form.dataset.uploads}?name=${encodeURIComponent(file.name)}`,
        { method: "POST", body: file, headers: { "X-CSRF": form.dataset.csrf } });
      if (!answer.ok) { count.textContent = `${file.name}: ${await answer.text()}`; return; }
      bar.value = (number + 1) / pictures.length;
      count.textContent = `${number + 1} / ${pictures.length}`;
    }
    form.dataset.sent = "1";
    for (const each of form.querySelectorAll("[data-files]")) each.disabled = true;
    form.requestSubmit();
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      const dialog = document.getElementById(opener.dataset.opens);
      for (const each of dialog.querySelectorAll("[data-copies]")) {
        each.textContent = document.querySelector(each.dataset.copies).textContent;
      }
      dialog.showModal();
    }
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
    const printer = event.target.closest("[data-prints]");
    if (printer) window.print();
  });
})();
