// Sessile: every open tab of a session leaves when it ends. What it is given as data-…: docs/live-tabs.md
(() => {
  const doc = document, script = doc.currentScript, set = script.dataset, {session, login} = set, root = doc.documentElement;
  const at = name => new URL(name, script.src), name = at(session || '.');
  const sleep = ms => new Promise(done => setTimeout(done, ms)), now = Date.now;
  const make = tag => doc.createElement(tag), on = addEventListener;
  let gone, quit, sent, tabs, first, state, box, clock, busy;

  const ask = (signal, method) =>
    fetch(at('events'), {method, signal, headers: {accept: 'text/event-stream'}});
  // Whether this browser is in the page's session no more.
  const over = ({status, ok, headers}) => ok ? session && headers.get('sessile-session') != session
    : status > 399 && status < 429;

  const leave = () => {
    if (gone) return;
    // A form is on its way (signing out): its answer is what ends this page, and must not be cut off.
    if (now() - sent < 3e3) return sleep(3e3).then(leave);
    // A page that is for everybody would come again and again.
    if (!session && !login && now() - sessionStorage.sessile < 1e4) return quit.abort();
    sessionStorage.sessile = now();
    gone = dispatchEvent(new Event('sessile:leave'));
    root.replaceChildren();
    location.replace(login || doc.URL.split('#')[0]);
  };

  const hear = said => {
    state = said;
    clearInterval(clock);
    box?.remove();
    said.type == 'revoked' ? leave() : said.type != 'live' && warn(said);
  };
  const tell = said => {
    if (said.limit) said.until = now() + said.left * 1e3;
    tabs.postMessage(said);
    hear(said);
  };

  const warn = ({type, limit, until}) => {
    const idle = limit == 'idle', text = make('p'), act = make(idle ? 'button' : 'a');
    const [say, label] = idle ? [set.idle || 'You are signed out in {left}.', set.stay || 'Stay signed in']
      : until ? [set.overall || 'It ends in {left}.', set.again || 'Sign in']
      : [set.prove || 'Confirm it is you.', set.confirm || 'Confirm'];
    const count = () => {
      const left = Math.max(0, (until - now()) / 1e3 | 0);
      text.textContent = say.replace('{left}', `${left / 60 | 0}:${('0' + left % 60).slice(-2)}`);
      if (until && !left) check(clearInterval(clock));
    };
    if (idle) act.onclick = extend;
    else act.href = set.stepUp || '/account/step-up';
    // Whoever is where one proves oneself needs no telling, and nothing in the way.
    if (act.pathname == location.pathname) return;
    box = make('dialog');
    box.className = 'sessile-live';
    box.ariaLabel = act.textContent = label;
    box.append(text, act);
    doc.body.append(box);
    box.showModal();
    if (until) clock = setInterval(count, 1e3);
    count();
  };
  const extend = async () => {
    (await fetch(at('extend'), {method: 'POST'})).ok ? tell({type: 'live'}) : check();
  };

  // After a rest nothing is shown before the server has said that the session lives.
  const check = async () => {
    if (busy) return;
    for (busy = 1; busy; busy && await sleep(2e3)) {
      const answer = await ask(quit.signal, 'HEAD').catch(() => 0);
      if (answer && over(answer)) leave();
      else if (answer.ok) root.style.display = '';
      busy = !(answer.ok || gone || quit.signal.aborted);
    }
  };

  const listen = async mine => {
    first = 1;
    for (let wait = 500; !mine.aborted && !gone; wait = Math.min(wait * 2, 3e4)) {
      const one = new AbortController(), stop = () => one.abort();
      let dog;
      mine.onabort = stop;
      try {
        const answer = await ask(one.signal);
        if (over(answer)) return tell({type: 'revoked'});
        const reader = answer.ok && answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = '', parts; reader; ) {
          clearTimeout(dog);
          dog = setTimeout(stop, 4e4);
          const {done, value} = await reader.read();
          if (done) break;
          wait = 250;
          [rest, ...parts] = (rest + value).split('\n\n').reverse();
          for (const part of parts.reverse()) {
            const [, type, data] = /^event: (.*)\ndata: (.*)/.exec(part) || [];
            type && tell({type, ...JSON.parse(data)});
          }
        }
      } catch {}
      clearTimeout(dog);
      if (!mine.aborted) await sleep(wait * (.5 + Math.random()));
    }
  };

  const start = () => {
    quit = new AbortController();
    first = busy = 0;
    const {signal} = quit, lead = () => listen(signal);
    tabs = new BroadcastChannel(name);
    tabs.onmessage = ({data}) => data ? hear(data) : first && state && tabs.postMessage(state);
    tabs.postMessage(0);
    navigator.locks?.request(name, {signal}, lead).catch(() => 0) ?? lead();
  };
  on('pagehide', ({persisted}) => {
    if (persisted) root.style.display = 'none';
    quit.abort();
    tabs.close();
  });
  on('pageshow', ({persisted}) => persisted && !gone && check(start()));
  on('submit', () => sent = now());
  on('visibilitychange', () => doc.hidden || check());
  start();
})();
