// g++ Hello.cpp -o Hello && ./Hello
#include <iostream>

int main() {
    std::cout << "Hello, World! (C++" << __cplusplus / 100 % 100 << ", compiler " << __VERSION__ << ")\n";
}
