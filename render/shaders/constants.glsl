#ifndef CONSTANTS
#define CONSTANTS
const float PI = 3.14159265358979;
#endif
