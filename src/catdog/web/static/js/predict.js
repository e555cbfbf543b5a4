// The tab "predict".

export function start(panel) {
  void panel;
}
