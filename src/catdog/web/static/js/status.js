// The tab "status".

export function start(panel) {
  void panel;
}
