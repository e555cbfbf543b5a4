// Names of the classes as people read them: "Cat" for the folder "cats".

let names = {};

/** Set the classes, folder -> name; returns the folders. */
export function useClasses(classes) {
  names = classes;
  return Object.keys(classes);
}

/** Return the name of a class by its folder. */
export function nameOf(folder) {
  return names[folder] ?? folder;
}
