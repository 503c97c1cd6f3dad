/** What is missing where no session host runs, in sentences for `sandbox_status`. */
export const degraded: readonly string[] = [
  'Session host unavailable: commands and terminals run over plain execs of the container engine.',
  'The shell, its commands, background processes and terminals do not survive a restart of the server.',
  'Output of a background process is not attributed to its command while another one runs: it is mixed into that one.',
  'A background process that holds its command’s output counts as doing so until the next command begins.',
  'A shell that ends is replaced in its directory, but without its variables, functions, aliases and options.',
  'A process that makes itself a daemon is not reached by a timeout, by stop_command or by reset_session.',
  "File tools need the image's own bash, and the cause of a failed command may stay unknown.",
];
