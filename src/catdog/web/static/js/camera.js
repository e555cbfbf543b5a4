// A picture from the camera, where there is one and the browser lets a page use it; else the reason why not.

import { element } from "./dom.js";
import { toast } from "./toasts.js";

/** Show the button of the camera, or say in `hint` why it is missing. */
export async function offerCamera(button, hint, take) {
  const reason = await whyNot();
  button.hidden = reason !== null;
  hint.hidden = reason === null;
  if (reason !== null) hint.textContent = `No camera: ${reason}`;
  else button.addEventListener("click", () => open(take));
}

async function whyNot() {
  if (!isSecureContext) return "browsers give it to pages under https only.";
  if (!navigator.mediaDevices?.getUserMedia) return "this browser has none to offer.";
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  if (!devices.some((device) => device.kind === "videoinput")) return "none is connected.";
  const permission = await navigator.permissions?.query({ name: "camera" }).catch(() => null);
  return permission?.state === "denied" ? "it is blocked for this page; the browser's settings change that." : null;
}

async function open(take) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const refused = error.name === "NotAllowedError" ? "The browser did not allow it." : "It does not answer.";
    toast(`The camera cannot be used. ${refused}`, { failed: true });
    return;
  }
  const video = element("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  video.muted = true;
  video.srcObject = stream;
  const dialog = element("dialog", { class: "camera", "aria-label": "Camera" }, video,
    element("div", { class: "row" },
      element("button", { type: "button", class: "primary", onclick: () => shoot(video, dialog, take) }, "Take the picture"),
      element("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  dialog.addEventListener("close", () => {
    for (const track of stream.getTracks()) track.stop();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function shoot(video, dialog, take) {
  if (!video.videoWidth) return; // the first frame is not there yet
  const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    dialog.close();
    take([new File([blob], "camera picture", { type: "image/jpeg" })]);
  }, "image/jpeg", 0.92);
}
