// Keeps the element with the id "fresh" as the server has it. A tab that nobody looks at asks nothing, and asking is no
// act of the person (Sessile-Activity). Where the person is at work in it (focus, open details), it stays as it is.
(() => {
  const SECONDS = 10;
  const busy = (part) => part.contains(document.activeElement) || part.querySelector("details[open]");
  setInterval(async () => {
    const part = document.getElementById("fresh");
    if (!part || document.hidden || busy(part)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "Sessile-Activity": "none" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("fresh");
      if (fresh && !busy(part)) part.replaceWith(document.adoptNode(fresh));
    } catch { /* the server is away: the next turn will tell */ }
  }, SECONDS * 1000);
})();
