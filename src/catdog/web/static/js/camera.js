// Takes an image with the camera, or says why there is none.

import { element } from "./dom.js";
import { toast } from "./toasts.js";

/** Show the camera button, or explain in `hint` why it is missing. */
export async function offerCamera(button, hint, take) {
  const reason = await whyNot();
  button.hidden = reason !== null;
  hint.hidden = reason === null;
  if (reason !== null) hint.textContent = `No camera: ${reason}`;
  else button.addEventListener("click", () => open(take));
}

async function whyNot() {
  if (!isSecureContext) return "browsers allow it only over HTTPS.";
  if (!navigator.mediaDevices?.getUserMedia) return "this browser doesn't support it.";
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  if (!devices.some((device) => device.kind === "videoinput")) return "none is connected.";
  const permission = await navigator.permissions?.query({ name: "camera" }).catch(() => null);
  return permission?.state === "denied" ? "it is blocked for this page. Allow it in the browser's settings." : null;
}

async function open(take) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const refused = error.name === "NotAllowedError" ? "The browser blocked it." : "It doesn't respond.";
    toast(`The camera can't be used. ${refused}`, { failed: true });
    return;
  }
  const video = element("video", { autoplay: true, playsinline: true, "aria-label": "Camera preview" });
  video.muted = true;
  video.srcObject = stream;
  const dialog = element("dialog", { class: "camera", "aria-label": "Camera" }, video,
    element("div", { class: "row" },
      element("button", { type: "button", class: "primary", onclick: () => shoot(video, dialog, take) }, "Take photo"),
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
    take([new File([blob], "camera image.jpg", { type: "image/jpeg" })]);
  }, "image/jpeg", 0.92);
}
