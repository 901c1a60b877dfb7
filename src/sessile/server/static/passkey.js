// Passkeys. A form with `data-passkey` ("get" or "create") is sent with the browser's answer in its field `credential`;
// what the browser is asked comes from the address in `data-options`. Without this script such forms stay hidden.
"use strict";

(() => {
  const supported =
    window.PublicKeyCredential !== undefined &&
    PublicKeyCredential.parseRequestOptionsFromJSON !== undefined &&
    PublicKeyCredential.parseCreationOptionsFromJSON !== undefined &&
    PublicKeyCredential.prototype.toJSON !== undefined;
  // A challenge lives for five minutes: a page that is open for longer asks for another in time.
  const FRESH = 4 * 60 * 1000;
  let waiting = null;

  async function ask(form, more) {
    const answer = await fetch(form.dataset.options, { method: "POST", headers: { accept: "application/json" } });
    if (answer.status === 401) {
      location.reload(); // a proof is missing: the page knows the way to it
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const options = await answer.json();
    const credential =
      form.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options), ...more })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options), ...more });
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  }

  function stopWaiting() {
    if (waiting !== null) waiting.abort();
    waiting = null;
  }

  // The browser offers passkeys among its suggestions for the name field.
  async function wait(form) {
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    stopWaiting();
    const mine = (waiting = new AbortController());
    const again = setTimeout(() => waiting === mine && wait(form), FRESH);
    try {
      await ask(form, { mediation: "conditional", signal: mine.signal });
    } catch {
      // Nobody chose one. The button is there.
    }
    clearTimeout(waiting === mine ? undefined : again);
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const said = form.querySelector("[data-said]");
    if (!supported) {
      if (said !== null) said.hidden = false;
      continue;
    }
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      stopWaiting();
      if (said !== null) said.hidden = true;
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        await ask(form, {});
      } catch {
        if (said !== null) said.hidden = false;
      }
      button.disabled = false;
    });
    if ("conditional" in form.dataset) wait(form);
  }
})();
