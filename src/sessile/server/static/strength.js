// Shows how strong the password in the field "new" is, as one types: asked of the server, which judges it in any case.
"use strict";
(() => {
  const { minimum } = document.currentScript.dataset;
  const field = document.getElementById("new");
  const box = document.getElementById("strength");
  const meter = document.getElementById("strength-meter");
  const said = document.getElementById("strength-said");
  if (!field || !box) return;
  let timer;
  let asked = 0;
  const hide = () => { box.hidden = true; };
  async function ask() {
    const mine = ++asked;
    const name = document.querySelector("input[name=username]");
    try {
      const answer = await fetch("/api/v1/password/strength", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ password: field.value, username: name ? name.value : "", minimum: Number(minimum) }),
      });
      if (mine !== asked) return; // a later one is under way
      if (!answer.ok) return hide();
      const found = await answer.json();
      meter.value = found.score;
      said.textContent = found.said;
      box.hidden = false;
    } catch {
      hide();
    }
  }
  field.addEventListener("input", () => {
    clearTimeout(timer);
    asked += 1;
    if (field.value === "") return hide();
    timer = setTimeout(ask, 300);
  });
})();
