// The tab "visualizations".

export function start(panel) {
  void panel;
}
