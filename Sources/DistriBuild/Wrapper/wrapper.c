// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// The code of every wrapper in a package's bin/: puts directories in front of variables of the environment, then becomes the program.
// It needs no C library and no relocation, so that it starts in microseconds and works where nothing but the wrapper is at hand.
// WrapperStub.swift puts an ELF header in front of the code and the payload behind it:
//
//   one byte            'k': argv[0] stays as given; 'd': its last component, in the directory of the program
//   program NUL         the path to execute
//   then, per variable: name NUL front NUL back NUL default NUL
//                       front goes in front of what the variable holds and back behind it, with ':' between;
//                       default stands for an unset or empty variable; any of the three may be empty
//   NUL                 the end
//
// After a change, run ./generate.

typedef unsigned long size;

extern const char payload[] __attribute__((visibility("hidden")));

enum { sys_write = 1, sys_execve = 59, sys_exit = 60, not_found = 2 };

static long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

static size length(const char *text) {
  size count = 0;
  while (text[count]) count++;
  return count;
}

static char *append(char *to, const char *from) {
  while ((*to = *from)) to++, from++;
  return to;
}

// What follows NAME= when the entry is of that variable, else 0.
static const char *value_of(const char *entry, const char *name) {
  while (*name && *entry == *name) entry++, name++;
  return !*name && *entry == '=' ? entry + 1 : 0;
}

static int starts_with(const char *text, const char *start) {
  while (*start && *text == *start) text++, start++;
  return !*start && (!*text || *text == ':');
}

static int ends_with(const char *text, const char *end) {
  size count = length(text), end_count = length(end);
  if (count < end_count || (count > end_count && text[count - end_count - 1] != ':')) return 0;
  return starts_with(text + count - end_count, end);
}

static const char *after(const char *text) { return text + length(text) + 1; }

static const char *next_variable(const char *name) { return after(after(after(after(name)))); }

// Appends a part of a list, with a ':' unless it is the first one.
static char *append_part(char *to, const char *part, const char *list) {
  if (!*part) return to;
  if (to > list) to = append(to, ":");
  return append(to, part);
}

static const char *base_name(const char *path) {
  const char *base = path;
  for (; *path; path++)
    if (*path == '/') base = path + 1;
  return base;
}

static void complain(const char *text) { call(sys_write, 2, (long)text, (long)length(text)); }

__attribute__((noreturn, used)) static void run(long *stack) {
  long count = stack[0];
  char **argv = (char **)(stack + 1);
  char **env = argv + count + 1;
  const char *program = payload + 1;
  const char *variables = after(program);

  size entries = 0, variable_count = 0;
  while (env[entries]) entries++;
  for (const char *v = variables; *v; v = next_variable(v)) variable_count++;
  char *new_env[entries + variable_count + 1];
  for (size i = 0; i <= entries; i++) new_env[i] = env[i];

  for (const char *name = variables; *name; name = next_variable(name)) {
    const char *front = after(name), *back = after(front), *held = after(back);
    size slot = 0;
    while (slot < entries && !value_of(new_env[slot], name)) slot++;
    if (slot < entries && *value_of(new_env[slot], name)) held = value_of(new_env[slot], name);
    // A wrapper that starts itself again must not let the variable grow.
    if (starts_with(held, front)) front = "";
    if (ends_with(held, back)) back = "";
    char *text = __builtin_alloca(length(name) + length(front) + length(held) + length(back) + 4);
    char *list = append(append(text, name), "=");
    append_part(append_part(append_part(list, front, list), held, list), back, list);
    new_env[slot] = text;
    if (slot == entries) new_env[++entries] = 0;
  }

  char *no_arguments[] = {(char *)program, 0};
  if (count < 1) argv = no_arguments;
  if (payload[0] == 'd') {
    const char *base = base_name(argv[0]);
    char *text = __builtin_alloca(length(program) + length(base) + 1);
    append(text, program);
    append((char *)base_name(text), base);
    argv[0] = text;
  }
  long error = -call(sys_execve, (long)program, (long)argv, (long)new_env);
  complain(program);
  complain(error == not_found ? ": not found\n" : ": cannot be executed\n");
  call(sys_exit, error == not_found ? 127 : 126, 0, 0);
  __builtin_unreachable();
}

__attribute__((naked, section(".text.start"))) void _start(void) {
  __asm__("xor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n\tud2");
}
