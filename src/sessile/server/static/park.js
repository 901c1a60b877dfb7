// A session that times out takes its pages away (live.js). What was typed into them waits on the server for its person.
addEventListener("sessile:leave", () => {
  const typed = (field) =>
    field.name && field.type !== "password" && field.type !== "hidden" && field.value && field.value !== field.defaultValue;
  const form = [...document.forms].find(
    (one) => one.method === "post" && one.elements.form_token && [...one.elements].some(typed),
  );
  if (!form) return;
  const page = encodeURIComponent(location.pathname + location.search);
  fetch("/account/waiting?page=" + page, { method: "POST", body: new URLSearchParams(new FormData(form)), keepalive: true });
});
