// The tab "retrain".

export function start(panel) {
  void panel;
}
