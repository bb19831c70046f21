#include "control.h"
#include "plan.h"
#include "shm_layout.h"
