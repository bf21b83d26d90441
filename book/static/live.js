// Brings a stored widget to life, without a kernel: its still picture gives way to the widget's
// own module, run on the state that the page holds. If anything fails, the picture stays.

const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';

/** What a widget's module expects of its model. A kernel's would have a widget_manager. */
function modelOf({ state, buffers = [] }) {
  const values = { ...state };
  for (const { path, data } of buffers) {
    values[path[0]] = new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
  }
  const listeners = new EventTarget();
  return {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      listeners.dispatchEvent(new Event(`change:${name}`));
    },
    on: (event, listener) => listeners.addEventListener(event, listener),
    off: (event, listener) => listeners.removeEventListener(event, listener),
    save_changes: () => {},
  };
}

/** Show the widget of a stored view in the place of the picture before it. */
async function bringToLife(view, { state }) {
  const picture = view.previousElementSibling;
  const model = modelOf(state[JSON.parse(view.textContent).model_id]);
  const source = new Blob([model.get("_esm")], { type: "text/javascript" });
  const { default: widget } = await import(URL.createObjectURL(source));
  const el = document.createElement("div");
  el.className = "live";
  picture.before(el); // a widget may measure itself, so it is in the page when it draws
  try {
    const style = document.createElement("style");
    style.textContent = model.get("_css");
    document.head.append(style);
    await widget.render({ model, el });
    picture.classList.add("still");
  } catch (error) {
    el.remove();
    throw error;
  }
}

const stored = document.querySelector(STATE);
for (const view of document.querySelectorAll(VIEW)) {
  bringToLife(view, JSON.parse(stored.textContent)).catch(console.error);
}
